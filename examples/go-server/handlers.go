package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	slowDefault = time.Second
	slowLimit   = 10 * time.Minute
)

// newHandler is all that the server answers.
func newHandler(conns *connections, m *metrics, bad misbehaviour) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", bad.spoil(http.HandlerFunc(home)))
	mux.Handle("/slow", bad.spoil(http.HandlerFunc(slow)))
	mux.HandleFunc("/healthz", healthz)
	mux.Handle("/metrics", m.page(conns))
	return everyAnswer(mux, conns, m)
}

func home(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintf(w, "version %s\npid %d\n", version, os.Getpid())
}

func healthz(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "ok")
}

// slow answers after ?ms=N, drain or no drain: only the client's leaving ends
// it early, since then nobody waits for the answer.
func slow(w http.ResponseWriter, r *http.Request) {
	wait := slowDefault
	if text := r.URL.Query().Get("ms"); text != "" {
		ms, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			http.Error(w, "ms must be a number of milliseconds", http.StatusBadRequest)
			return
		}
		wait = time.Duration(ms) * time.Millisecond
	}
	if wait > slowLimit {
		wait = slowLimit
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		fmt.Fprintf(w, "waited %v\n", wait)
	case <-r.Context().Done():
	}
}

// everyAnswer is around every handler: it says who answers, counts the answer,
// and, when we are leaving, tells the client to come back on a new connection.
func everyAnswer(next http.Handler, conns *connections, m *metrics) http.Handler {
	pid := strconv.Itoa(os.Getpid())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w.Header().Set("X-Version", version)
		w.Header().Set("X-Pid", pid)
		a := &answer{ResponseWriter: w, conns: conns}
		next.ServeHTTP(a, r)
		if a.code == 0 {
			a.WriteHeader(http.StatusOK)
		}
		m.observe(a.code, time.Since(began))
	})
}
