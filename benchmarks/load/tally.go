package main

import "time"

// keptFailures is how many failures are kept with all their details.
const keptFailures = 1000

// tally adds up outcomes. Only the collector touches it, so it needs no lock.
type tally struct {
	all      counts
	byMode   map[mode]*counts
	byTarget map[string]*share
	failures []failure
	lateness histogram
	ended    time.Time

	opened, idleClosed, askedToClose int
}

// counts are the figures that exist for all requests and for each mode.
type counts struct {
	requests, ok int
	kinds        map[kind]int
	versions     map[string]int
	latency      histogram // of the answered ones: a quick refusal must not look like a quick server
}

// share is what became of the requests to one target.
type share struct {
	Requests int `json:"requests"`
	OK       int `json:"ok"`
}

// failure is one failed request as it is printed.
type failure struct {
	T      stamp  `json:"t"`
	Due    stamp  `json:"due"`
	Kind   kind   `json:"kind"`
	Mode   mode   `json:"mode"`
	Target string `json:"target"`
	Port   int    `json:"port"`
	Reused bool   `json:"reused"`
	Phase  phase  `json:"phase"`
	Error  string `json:"error"`
}

func newTally(modes []mode, targets []*target) *tally {
	t := &tally{all: newCounts(), byMode: map[mode]*counts{}, byTarget: map[string]*share{}}
	for _, each := range targets {
		t.byTarget[each.name] = &share{}
	}
	for _, m := range modes {
		c := newCounts()
		t.byMode[m] = &c
	}
	return t
}

func newCounts() counts {
	return counts{kinds: map[kind]int{}, versions: map[string]int{}}
}

func (t *tally) add(o *outcome) {
	t.all.add(o)
	t.byMode[o.mode].add(o)
	t.byTarget[o.target.name].Requests++
	t.byTarget[o.target.name].OK += one(o.fault == nil)
	t.lateness.add(o.late)
	t.opened += one(o.opened)
	t.idleClosed += one(o.idleClosed)
	t.askedToClose += one(o.askedToClose)
	if end := o.due.Add(o.took); end.After(t.ended) {
		t.ended = end
	}
	if o.fault != nil && len(t.failures) < keptFailures {
		t.failures = append(t.failures, newFailure(o))
	}
}

func (c *counts) add(o *outcome) {
	c.requests++
	if o.fault != nil {
		c.kinds[o.fault.kind]++
		return
	}
	c.ok++
	c.latency.add(o.took)
	c.versions[versionName(o)]++
}

func (c *counts) failed() (n int) {
	for _, count := range c.kinds {
		n += count
	}
	return n
}

func newFailure(o *outcome) failure {
	return failure{
		T: stamp{o.due.Add(o.took)}, Due: stamp{o.due},
		Kind: o.fault.kind, Mode: o.mode, Target: o.target.name,
		Port: o.port, Reused: o.reused, Phase: o.fault.phase, Error: o.fault.text,
	}
}

// versionName is under which version an answer is counted.
func versionName(o *outcome) string {
	if o.version == "" {
		return "unknown"
	}
	return o.version
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
