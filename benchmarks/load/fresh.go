package main

import "time"

// fresh sends every request on a connection of its own.
type fresh struct {
	dialer *dialer
	expect string
}

func (f *fresh) send(o *outcome, deadline time.Time) channel {
	c, port, err := f.dialer.open(o.target, deadline)
	o.port = port
	if err != nil {
		o.fault = broken(phaseConnect, err)
		return nil
	}
	o.opened = true
	ans, fault := c.exchange(true, f.expect, deadline)
	o.version, o.pid, o.fault = ans.version, ans.pid, fault
	return c
}
