package main

import (
	"context"
	"sync"
	"time"
)

// sender carries out one request and notes in its outcome how it went. A connection that it returns
// is no longer needed and still to be parted with.
type sender interface {
	send(o *outcome, deadline time.Time) (leftover channel)
}

// generator launches requests when they are due, whatever became of those before.
type generator struct {
	cfg     *config
	pool    *pool
	senders map[mode]sender
	door    chan struct{} // one place per request that may be under way
	running sync.WaitGroup
	report  func(*outcome) // called exactly once for every scheduled request
}

func newGenerator(cfg *config, report func(*outcome)) *generator {
	d := &dialer{sources: cfg.sources}
	p := newPool(cfg, d)
	return &generator{
		cfg:     cfg,
		pool:    p,
		senders: map[mode]sender{modeNew: &fresh{d, cfg.expect}, modeKeep: p},
		door:    make(chan struct{}, cfg.inFlight),
		report:  report,
	}
}

// run works through the schedule and waits for what is under way, which the deadline of each request
// bounds. It returns when it began and how many requests there were.
func (g *generator) run(ctx context.Context, a *alarm) (started time.Time, scheduled int) {
	a.interruptWith(ctx)
	started = time.Now()
	for g.wants(scheduled) {
		due := started.Add(g.offset(scheduled))
		if !a.wait(ctx, due) {
			break
		}
		g.launch(scheduled, due)
		scheduled++
	}
	g.running.Wait()
	return started, scheduled
}

// wants says whether request n belongs to the run.
func (g *generator) wants(n int) bool {
	if g.cfg.maxRequests > 0 && n >= g.cfg.maxRequests {
		return false
	}
	return g.cfg.duration == 0 || g.offset(n) < g.cfg.duration
}

// offset is when request n is due, computed anew from n so that no error adds up.
func (g *generator) offset(n int) time.Duration {
	return time.Duration(float64(n) / g.cfg.rate * float64(time.Second))
}

// launch starts request n, or counts it as failed if too many are under way. It never blocks on a
// server.
func (g *generator) launch(n int, due time.Time) {
	now := time.Now()
	o := &outcome{due: due, late: now.Sub(due)}
	modes, targets := g.cfg.modes, g.cfg.targets
	o.mode = modes[n%len(modes)]
	o.target = targets[n/len(modes)%len(targets)] // not n%len(targets), or a mode could be tied to a target
	select {
	case g.door <- struct{}{}:
		g.running.Add(1)
		go g.carryOut(o, now.Add(g.cfg.timeout))
	default:
		o.fault, o.took = overload("too many requests under way"), o.late
		g.report(o)
	}
}

// carryOut parts with the connection when all else is done: that time is not the request's.
func (g *generator) carryOut(o *outcome, deadline time.Time) {
	leftover := g.senders[o.mode].send(o, deadline)
	o.took = time.Since(o.due)
	<-g.door
	g.report(o)
	g.running.Done()
	if leftover != nil {
		leftover.farewell()
	}
}
