package main

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// serveTLS hands every connection, its handshake done, to behave. The certificate is net/http/httptest's.
func serveTLS(t *testing.T, behave func(c *tls.Conn, in *bufio.Reader)) *server {
	t.Helper()
	lender := httptest.NewTLSServer(nil)
	t.Cleanup(lender.Close)
	config := &tls.Config{Certificates: lender.TLS.Certificates}
	return serve(t, func(c *net.TCPConn, _ *bufio.Reader) {
		secured := tls.Server(c, config)
		if secured.Handshake() == nil {
			behave(secured, bufio.NewReader(secured))
		}
	})
}

func TestTLS(t *testing.T) {
	s := serveTLS(t, func(c *tls.Conn, _ *bufio.Reader) { answerAll(c) })
	for mode, opened := range map[string]int{"new": 20, "keep": 2} {
		r := load(t, "-target", "https://"+s.address(), "-mode", mode, "-connections", "2", "-max-requests", "20", "-rate", "500")
		if r.OK != 20 || r.ConnectionsOpened != opened || r.Versions["v1"] != 20 {
			t.Errorf("%s: want 20 ok over %d connections: %+v", mode, opened, r)
		}
	}
}

// TLS says that it ends in a record of its own: it is no answer, and an end like any other.
func TestATLSServerMayCloseAnIdleConnection(t *testing.T) {
	s := serveTLS(t, func(c *tls.Conn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "")
		c.Close()
	})
	r := load(t, "-target", "https://"+s.address(), "-mode", "keep", "-connections", "1", "-max-requests", "4", "-rate", "10")
	if r.OK != 4 || r.ConnectionsOpened != 4 || r.IdleClosed < 3 {
		t.Errorf("want 4 ok and 3 or 4 closed idle: %+v", r)
	}
}

// Its announcement alone, with the socket still open, is an end too.
func TestATLSServerMaySayThatItEnds(t *testing.T) {
	s := serveTLS(t, func(c *tls.Conn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "")
		time.Sleep(20 * time.Millisecond)
		c.CloseWrite()
	})
	r := load(t, "-target", "https://"+s.address(), "-mode", "keep", "-connections", "1", "-max-requests", "4", "-rate", "10")
	if r.OK != 4 || r.ConnectionsOpened != 4 {
		t.Errorf("want 4 ok over 4 connections: %+v", r)
	}
}

func TestAnAnswerWithoutARequestIsWrongUnderTLSToo(t *testing.T) {
	s := serveTLS(t, func(c *tls.Conn, in *bufio.Reader) {
		nextRequest(in)
		reply(c, "")
		time.Sleep(20 * time.Millisecond)
		reply(c, "")
		nextRequest(in)
	})
	r := load(t, "-target", "https://"+s.address(), "-mode", "keep", "-connections", "1", "-max-requests", "2", "-rate", "10")
	if r.OK != 1 || r.Kinds[kindWrong] != 1 {
		t.Errorf("want 1 ok and 1 wrong: %+v", r)
	}
}

func TestAServerWithoutTLSFailsTheHandshake(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) { c.Close() })
	r := load(t, "-target", "https://"+s.address(), "-max-requests", "2")
	if r.Failed != 2 || r.Failures[0].Phase != phaseConnect || r.Failures[0].Port == 0 {
		t.Errorf("want 2 failed while connecting, with their ports: %+v", r.Failures)
	}
}
