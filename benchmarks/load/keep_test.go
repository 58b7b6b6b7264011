package main

import (
	"bufio"
	"net"
	"testing"
	"time"
)

func TestKeptConnectionsAreReused(t *testing.T) {
	s := serve(t, wellBehaved)
	r := load(t, "-target", s.address(), "-mode", "keep", "-connections", "3", "-max-requests", "60", "-rate", "1000")
	if r.OK != 60 || r.ConnectionsOpened != 3 || r.Versions["v1"] != 60 {
		t.Errorf("want 60 ok over 3 connections: %+v", r)
	}
}

func TestAServerMayCloseAnIdleConnection(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "")
		c.Close()
	})
	r := load(t, "-target", s.address(), "-mode", "keep", "-connections", "1", "-max-requests", "4", "-rate", "10")
	// The connection of the last request is found closed at the end, or was not closed yet.
	if r.OK != 4 || r.ConnectionsOpened != 4 || r.IdleClosed < 3 || r.AskedToClose != 0 {
		t.Errorf("want 4 ok and 3 or 4 closed idle: %+v", r)
	}
}

func TestAServerMayAskToClose(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "Connection: close\r\n")
		c.Close()
	})
	r := load(t, "-target", s.address(), "-mode", "keep", "-connections", "1", "-max-requests", "4", "-rate", "200")
	if r.OK != 4 || r.ConnectionsOpened != 4 || r.AskedToClose != 4 || r.IdleClosed != 0 {
		t.Errorf("want 4 ok and 4 asked to close: %+v", r)
	}
}

// A connection that dies under its second request is a failure, and nothing is sent again.
func TestARequestOnAKeptConnectionIsNeverRetried(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "")
		nextRequest(in)
		c.Close()
	})
	r := load(t, "-target", s.address(), "-mode", "keep", "-connections", "1", "-max-requests", "4", "-rate", "100")
	r.expectFailures(t, 2, kindClosed, phaseRead, true)
	for _, f := range r.Failures {
		if !s.knows(f.Port) {
			t.Errorf("no connection came from port %d", f.Port)
		}
	}
}

// Only a clean close may go unblamed.
func TestAResetOfAnIdleConnectionIsAFailure(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "")
		c.SetLinger(0)
		c.Close()
	})
	c := idleConnection(t, s)
	var fault *fault
	eventually(t, "the reset", func() bool { _, fault = c.check(); return fault != nil })
	if fault.kind != kindReset || fault.phase != phaseWrite {
		t.Errorf("got %+v", fault)
	}
}

func TestAnAnswerWithoutARequestIsWrong(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "")
		reply(c, "")
		nextRequest(in)
	})
	c := idleConnection(t, s)
	var fault *fault
	eventually(t, "the second answer", func() bool { _, fault = c.check(); return fault != nil })
	if fault.kind != kindWrong {
		t.Errorf("got %+v", fault)
	}
}

// idleConnection is a connection to s after its first answer.
func idleConnection(t *testing.T, s *server) channel {
	t.Helper()
	target, err := newTarget(s.address(), "/")
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	c, _, err := new(dialer).open(target, deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, fault := c.exchange(false, "", deadline); fault != nil {
		t.Fatal(fault.text)
	}
	return c
}
