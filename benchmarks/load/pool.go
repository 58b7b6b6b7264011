package main

import "time"

// pool sends requests over a fixed number of kept connections. Those of a target are used in turn,
// so that each of them meets every change of the server; a request waits for the next free one.
type pool struct {
	dialer *dialer
	expect string
	slots  []*slot
	free   map[*target]chan *slot
}

// slot is the place of one connection, opened when first needed and again whenever it ended.
type slot struct {
	target *target
	conn   channel
}

func newPool(cfg *config, d *dialer) *pool {
	p := &pool{dialer: d, expect: cfg.expect, free: map[*target]chan *slot{}}
	for _, t := range cfg.targets {
		p.free[t] = make(chan *slot, cfg.connections)
	}
	for i := 0; i < cfg.connections; i++ {
		s := &slot{target: cfg.targets[i%len(cfg.targets)]}
		p.slots = append(p.slots, s)
		p.free[s.target] <- s
	}
	return p
}

func (p *pool) send(o *outcome, deadline time.Time) (leftover channel) {
	free := p.free[o.target]
	s := acquire(free, deadline)
	if s == nil {
		o.fault = overload("no connection of the pool came free")
		return nil
	}
	leftover = p.sendOn(s, o, deadline)
	free <- s
	return leftover
}

// acquire waits for a free slot until the deadline; nil means that there was none.
func acquire(free <-chan *slot, deadline time.Time) *slot {
	select {
	case s := <-free:
		return s
	default:
	}
	patience := time.NewTimer(time.Until(deadline))
	defer patience.Stop()
	select {
	case s := <-free:
		return s
	case <-patience.C:
		return nil
	}
}

// sendOn sends the request over the connection of a slot and leaves there only what may be used
// again.
func (p *pool) sendOn(s *slot, o *outcome, deadline time.Time) (leftover channel) {
	if o.fault = p.ready(s, o, deadline); o.fault != nil {
		return nil
	}
	o.port, o.reused = s.conn.about().port, s.conn.about().used
	ans, fault := s.conn.exchange(false, p.expect, deadline)
	o.version, o.pid, o.fault = ans.version, ans.pid, fault
	o.askedToClose = ans.closing
	if s.conn.about().dead {
		leftover, s.conn = s.conn, nil
	}
	return leftover
}

// ready makes sure that the slot has a connection fit to be written to.
func (p *pool) ready(s *slot, o *outcome, deadline time.Time) *fault {
	if s.conn != nil {
		state, fault := s.conn.check()
		if state == idleUsable {
			return nil
		}
		o.port, o.reused = s.conn.about().port, true
		s.conn.Close() // the server has closed its side already
		s.conn = nil
		if state == idleBroken {
			return fault
		}
		o.idleClosed = true
	}
	c, port, err := p.dialer.open(s.target, deadline)
	o.port, o.reused = port, false
	if err != nil {
		return broken(phaseConnect, err)
	}
	s.conn, o.opened = c, true
	return nil
}

// close ends all connections and returns how many of them the server had closed already, unnoticed
// because no request came after. Nothing may be under way any more.
func (p *pool) close() (alreadyClosed int) {
	for _, s := range p.slots {
		if s.conn == nil {
			continue
		}
		if state, _ := s.conn.check(); state == idleClosed {
			alreadyClosed++
		}
		s.conn.Close()
	}
	return alreadyClosed
}
