package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server that stands still for 500 ms stops neither the schedule nor the clocks of the requests
// that are due meanwhile.
func TestAStallCountsForEveryRequestDueInIt(t *testing.T) {
	const stall = 500 * time.Millisecond
	var once sync.Once
	var from time.Time
	over := make(chan struct{})
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		once.Do(func() {
			from = time.Now()
			time.AfterFunc(stall, func() { close(over) })
		})
		<-over
		wellBehaved(c, in)
	})
	r := load(t, "-target", s.address(), "-mode", "both", "-connections", "2", "-rate", "200", "-duration", "1s")
	begin := float64(from.UnixMicro()) / 1e6
	end := begin + stall.Seconds()
	due := 0
	for _, line := range r.record {
		if line.due >= begin && line.due < end {
			due++
			if line.end < end-0.001 {
				t.Errorf("due %.3f s into the stall, said to be answered %.3f s before its end", line.due-begin, end-line.end)
			}
		}
	}
	if r.Requests != 200 || r.Failed != 0 || due < 99 || due > 101 {
		t.Errorf("want 200 requests, 100 of them due in the stall; got %d and %d: %v", r.Requests, due, r.Kinds)
	}
	if r.Latency.Max < 450_000 {
		t.Errorf("the longest latency is %d µs", r.Latency.Max)
	}
}

func TestModesAndTargetsShareTheLoad(t *testing.T) {
	a, b := serve(t, wellBehaved), serve(t, wellBehaved)
	r := load(t, "-target", a.address(), "-target", b.address(), "-mode", "both", "-connections", "4",
		"-max-requests", "40", "-rate", "1000", "-sources", "3")
	if r.OK != 40 || r.ByMode[modeNew].OK != 20 || r.ByMode[modeKeep].OK != 20 {
		t.Errorf("want 20 ok in each mode: %+v", r.ByMode)
	}
	if len(a.ports) != 12 || len(b.ports) != 12 {
		t.Errorf("want 10 new and 2 kept connections at each target, got %d and %d", len(a.ports), len(b.ports))
	}
}

// Fifty targets get the same share each, in both modes.
func TestManyTargetsShareEvenly(t *testing.T) {
	var addresses []string
	for i := 0; i < 50; i++ {
		addresses = append(addresses, serve(t, wellBehaved).address())
	}
	r := load(t, "-target", strings.Join(addresses, ","), "-mode", "both", "-connections", "100",
		"-max-requests", "400", "-rate", "2000")
	for _, address := range addresses {
		if got := r.ByTarget[address]; got != (share{8, 8}) {
			t.Errorf("%s: want 8 requests, all ok, got %+v", address, got)
		}
	}
}

// A target without a kept connection would get none of the load of that mode.
func TestTooFewConnectionsForTheTargetsAreRefused(t *testing.T) {
	_, err := parseConfig([]string{"-target", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", "-mode", "both", "-connections", "2"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-connections 2") {
		t.Errorf("want a refusal that names -connections, got %v", err)
	}
}

// A signal (here: the end of the context) ends the schedule; what is under way is still answered.
func TestAnEndlessRunEndsGracefully(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		time.Sleep(100 * time.Millisecond)
		wellBehaved(c, in)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	r := loadUntil(t, ctx, "-target", s.address(), "-duration", "0", "-rate", "100")
	if r.Failed != 0 || r.OK < 15 || r.OK > 26 {
		t.Errorf("want about 25 ok: %+v", r.figures)
	}
}

// Chaos: whatever the server does, every request is accounted for (load itself checks that).
func TestNothingIsLostInTheAccounts(t *testing.T) {
	var mu sync.Mutex
	n := 0
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		mu.Lock()
		n++
		how := n % (len(misbehaviours) + 1)
		mu.Unlock()
		if how == len(misbehaviours) {
			wellBehaved(c, in)
		} else {
			misbehaviours[how].behave(c, in)
		}
	})
	r := load(t, "-target", s.address(), "-mode", "both", "-connections", "5", "-in-flight", "60",
		"-rate", "1000", "-duration", "500ms", "-timeout", "200ms", "-expect-prefix", "hello", "-live")
	if r.Requests != 500 || r.OK == 0 || r.Failed == 0 {
		t.Errorf("want 500 requests, some of them ok and some not: %+v", r.figures)
	}
	r.checkLive(t)
}

// checkLive checks that the live lines add up to the totals.
func (r *result) checkLive(t *testing.T) {
	t.Helper()
	requests, failed := 0, 0
	for _, text := range r.live {
		var line struct{ Requests, Failed int }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		requests += line.Requests
		failed += line.Failed
	}
	if len(r.live) < 2 || requests != r.Requests || failed != r.Failed {
		t.Errorf("%d live lines tell of %d requests, %d failed; the summary of %d, %d",
			len(r.live), requests, failed, r.Requests, r.Failed)
	}
}
