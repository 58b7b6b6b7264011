package main

import (
	"encoding/json"
	"fmt"
	"io"
	"syscall"
	"time"
)

// figures are printed for the whole run and for each mode.
type figures struct {
	Requests int            `json:"requests"`
	OK       int            `json:"ok"`
	Failed   int            `json:"failed"`
	Kinds    map[kind]int   `json:"kinds"`
	Latency  percentiles    `json:"latency_us"`
	Versions map[string]int `json:"versions"`
}

// summary is the last line of a run.
type summary struct {
	figures
	Failures          []failure         `json:"failures"`
	ByMode            map[mode]figures  `json:"by_mode"`
	ByTarget          map[string]*share `json:"by_target"`
	IdleClosed        int               `json:"idle_closed"`
	AskedToClose      int               `json:"asked_to_close"`
	ConnectionsOpened int               `json:"connections_opened"`
	RateAsked         float64           `json:"rate_asked"`
	RateDone          float64           `json:"rate_done"`
	Started           stamp             `json:"started"`
	Ended             stamp             `json:"ended"`
	Lateness          percentiles       `json:"lateness_us"` // of the generator itself
	CPU               float64           `json:"cpu_seconds"` // of the generator itself
}

func summarize(cfg *config, t *tally, started time.Time) *summary {
	s := &summary{
		figures:           t.all.figures(),
		Failures:          append([]failure{}, t.failures...),
		ByMode:            map[mode]figures{},
		ByTarget:          t.byTarget,
		IdleClosed:        t.idleClosed,
		AskedToClose:      t.askedToClose,
		ConnectionsOpened: t.opened,
		RateAsked:         cfg.rate,
		Started:           stamp{started},
		Ended:             stamp{later(started, t.ended)},
		Lateness:          t.lateness.percentiles(),
		CPU:               cpuSeconds(),
	}
	for m, c := range t.byMode {
		s.ByMode[m] = c.figures()
	}
	if elapsed := s.Ended.Sub(started).Seconds(); elapsed > 0 {
		s.RateDone = float64(s.OK) / elapsed
	}
	return s
}

func (c *counts) figures() figures {
	return figures{c.requests, c.ok, c.failed(), c.kinds, c.latency.percentiles(), c.versions}
}

// audit proves that no request got lost in the generator itself: without it "none failed" would
// be worth nothing.
func (s *summary) audit(scheduled int) error {
	if s.Requests != scheduled || s.OK+s.Failed != scheduled {
		return fmt.Errorf("accounting is broken: %d scheduled, %d ok, %d failed", scheduled, s.OK, s.Failed)
	}
	return nil
}

func (s *summary) exitStatus() int {
	if s.Failed > 0 {
		return exitFailed
	}
	return exitOK
}

func (s *summary) print(w io.Writer) { json.NewEncoder(w).Encode(s) }

// explain prints the summary for people.
func (s *summary) explain(w io.Writer) {
	fmt.Fprintf(w, "%d requests, %d ok, %d failed %v\n", s.Requests, s.OK, s.Failed, s.Kinds)
	fmt.Fprintf(w, "%.1f/s asked, %.1f/s answered, versions %v\n", s.RateAsked, s.RateDone, s.Versions)
	for _, m := range []mode{modeNew, modeKeep} {
		if f, ok := s.ByMode[m]; ok {
			fmt.Fprintf(w, "%-5s %d ok, %d failed, latency in µs %+v\n", m, f.OK, f.Failed, f.Latency)
		}
	}
	fmt.Fprintf(w, "%d connections opened, %d closed idle, %d asked to close\n",
		s.ConnectionsOpened, s.IdleClosed, s.AskedToClose)
	fmt.Fprintf(w, "the generator: late by µs %+v, %.2f s of CPU\n", s.Lateness, s.CPU)
	for _, f := range s.Failures[:min(len(s.Failures), 10)] {
		fmt.Fprintf(w, "  %s %s in %s, mode %s, port %d, reused %t: %s\n",
			f.T, f.Kind, f.Phase, f.Mode, f.Port, f.Reused, f.Error)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// cpuSeconds is the processor time that this process has used.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
