package main

import (
	"io"
	"sync"
	"time"
)

// collectInterval is how often outcomes are looked through: rarely enough to cost no wake-up per
// request, often enough that no batch holds the processor long.
const collectInterval = 20 * time.Millisecond

// liveEvery is after how many intervals a live line is due: 200 ms.
const liveEvery = 10

// inbox is where outcomes wait to be collected. It has no limit, so that a slow disk or reader of
// the output holds no request up.
type inbox struct {
	mu       sync.Mutex
	outcomes []*outcome
}

func (i *inbox) put(o *outcome) {
	i.mu.Lock()
	i.outcomes = append(i.outcomes, o)
	i.mu.Unlock()
}

func (i *inbox) takeAll() []*outcome {
	i.mu.Lock()
	defer i.mu.Unlock()
	taken := i.outcomes
	i.outcomes = make([]*outcome, 0, cap(taken))
	return taken
}

// collector is the one goroutine that all figures belong to.
type collector struct {
	inbox  inbox
	tally  *tally
	record *record
	live   *liveReport // nil: not asked for
	finish chan struct{}
	done   chan struct{}
}

func newCollector(cfg *config, rec *record, stdout io.Writer) *collector {
	c := &collector{
		tally:  newTally(cfg.modes, cfg.targets),
		record: rec,
		finish: make(chan struct{}),
		done:   make(chan struct{}),
	}
	if cfg.live {
		c.live = newLiveReport(stdout)
	}
	return c
}

// run collects until close.
func (c *collector) run() {
	defer close(c.done)
	ticker := time.NewTicker(collectInterval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-c.finish:
			c.collect()
			c.live.close()
			return
		case now := <-ticker.C:
			c.collect()
			if n%liveEvery == 0 {
				c.live.offer(now)
			}
		}
	}
}

func (c *collector) collect() {
	for _, o := range c.inbox.takeAll() {
		c.tally.add(o)
		c.record.add(o)
		c.live.add(o)
	}
}

// close collects what is left. There must be no more requests.
func (c *collector) close() {
	close(c.finish)
	<-c.done
}
