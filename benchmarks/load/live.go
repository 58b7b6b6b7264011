package main

import (
	"encoding/json"
	"io"
	"time"
)

// liveLine is what happened since the line before; the lines of a run add up to its totals.
type liveLine struct {
	T        stamp          `json:"t"`
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Versions map[string]int `json:"versions"`
	MaxUs    int64          `json:"max_us"`
}

// liveReport prints lines from a goroutine of its own, so that a reader that pauses holds nothing
// up: while a line waits to be written, the next one goes on growing. A nil one does nothing.
type liveReport struct {
	line    liveLine
	lines   chan liveLine
	written chan struct{}
}

func newLiveReport(w io.Writer) *liveReport {
	l := &liveReport{lines: make(chan liveLine), written: make(chan struct{})}
	l.reset()
	go func() {
		defer close(l.written)
		for line := range l.lines {
			json.NewEncoder(w).Encode(line)
		}
	}()
	return l
}

func (l *liveReport) reset() { l.line = liveLine{Versions: map[string]int{}} }

func (l *liveReport) add(o *outcome) {
	if l == nil {
		return
	}
	l.line.Requests++
	if o.fault != nil {
		l.line.Failed++
		return
	}
	l.line.Versions[versionName(o)]++
	l.line.MaxUs = max(l.line.MaxUs, o.took.Microseconds())
}

// offer hands the line over if the writer is free.
func (l *liveReport) offer(now time.Time) {
	if l == nil {
		return
	}
	l.line.T = stamp{now}
	select {
	case l.lines <- l.line:
		l.reset()
	default:
	}
}

// close prints what is left and returns when it is written.
func (l *liveReport) close() {
	if l == nil {
		return
	}
	l.line.T = stamp{time.Now()}
	l.lines <- l.line
	close(l.lines)
	<-l.written
}
