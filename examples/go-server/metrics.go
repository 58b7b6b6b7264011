package main

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"
)

// started is near enough to the process's own start: packages are initialised
// within a millisecond of it.
var started = time.Now()

// buckets are the upper bounds of the duration histogram, in seconds.
var buckets = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// metrics counts answers. All of it is atomic, so no request waits for another.
type metrics struct {
	codes    [600]atomic.Uint64
	buckets  [len(buckets) + 1]atomic.Uint64 // the last one is above every bound
	duration atomic.Int64                    // nanoseconds, all answers together
}

func (m *metrics) observe(code int, took time.Duration) {
	if code > 0 && code < len(m.codes) {
		m.codes[code].Add(1)
	}
	i := 0
	for i < len(buckets) && took.Seconds() > buckets[i] {
		i++
	}
	m.buckets[i].Add(1)
	m.duration.Add(int64(took))
}

// page serves the numbers in Prometheus' text format.
func (m *metrics) page(conns *connections) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		m.writeRequests(w)
		m.writeDurations(w)
		writeProcess(w, conns.count())
		writeRuntime(w)
	})
}

func (m *metrics) writeRequests(w io.Writer) {
	describeMetric(w, "http_requests_total", "counter", "Requests answered, by status code.")
	for code := range m.codes {
		if n := m.codes[code].Load(); n > 0 {
			fmt.Fprintf(w, "http_requests_total{code=\"%d\"} %d\n", code, n)
		}
	}
}

func (m *metrics) writeDurations(w io.Writer) {
	const name = "http_request_duration_seconds"
	describeMetric(w, name, "histogram", "Time from a request's header to the end of its handler.")
	var total uint64
	for i, bound := range buckets {
		total += m.buckets[i].Load()
		fmt.Fprintf(w, "%s_bucket{le=\"%g\"} %d\n", name, bound, total)
	}
	total += m.buckets[len(buckets)].Load()
	fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n", name, total)
	fmt.Fprintf(w, "%s_sum %g\n", name, time.Duration(m.duration.Load()).Seconds())
	fmt.Fprintf(w, "%s_count %d\n", name, total)
}

func writeProcess(w io.Writer, open int) {
	describeMetric(w, "build_info", "gauge", "Always 1; the version is in the label.")
	fmt.Fprintf(w, "build_info{version=%q,goversion=%q} 1\n", version, runtime.Version())
	gauge(w, "http_open_connections", "Connections open now.", float64(open))
	gauge(w, "process_start_time_seconds", "Start of the process, in seconds since 1970.",
		float64(started.UnixMilli())/1000)
}

func writeRuntime(w io.Writer) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	gauge(w, "go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	gauge(w, "go_memstats_heap_alloc_bytes", "Heap in use by live and not yet collected objects.", float64(mem.HeapAlloc))
	gauge(w, "go_memstats_heap_inuse_bytes", "Heap spans in use.", float64(mem.HeapInuse))
	gauge(w, "go_memstats_stack_inuse_bytes", "Stack spans in use.", float64(mem.StackInuse))
	gauge(w, "go_memstats_sys_bytes", "Memory obtained from the system.", float64(mem.Sys))
	gauge(w, "go_memstats_next_gc_bytes", "Heap size that starts the next collection.", float64(mem.NextGC))
	counter(w, "go_memstats_alloc_bytes_total", "Heap bytes allocated since the start.", float64(mem.TotalAlloc))
	counter(w, "go_gc_cycles_total", "Garbage collections finished.", float64(mem.NumGC))
	counter(w, "go_gc_pause_seconds_total", "Time the world stood still for them.", time.Duration(mem.PauseTotalNs).Seconds())
}

func gauge(w io.Writer, name, help string, value float64) {
	describeMetric(w, name, "gauge", help)
	fmt.Fprintf(w, "%s %.15g\n", name, value)
}

func counter(w io.Writer, name, help string, value float64) {
	describeMetric(w, name, "counter", help)
	fmt.Fprintf(w, "%s %.15g\n", name, value)
}

func describeMetric(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}
