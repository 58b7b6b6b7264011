package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// headerTimeout bounds how long a client may take to send a request's header.
const headerTimeout = 10 * time.Second

// connections knows every open connection, and whether we are leaving.
type connections struct {
	leaving   atomic.Bool
	accepting sync.WaitGroup

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newConnections() *connections {
	return &connections{open: make(map[*conn]struct{})}
}

func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

func (cs *connections) add(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.open[c] = struct{}{}
}

func (cs *connections) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
}

// endIdle ends every connection that was idle for at least limit.
func (cs *connections) endIdle(limit time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.endIfIdle(limit)
	}
}

// stateChanged is the server's ConnState hook: net/http knows when a request
// is over, and so when a connection becomes idle.
func (cs *connections) stateChanged(nc net.Conn, state http.ConnState) {
	if secured, ok := nc.(*tls.Conn); ok {
		nc = secured.NetConn()
	}
	if c, ok := nc.(*conn); ok {
		c.setIdle(state == http.StateIdle || state == http.StateNew)
	}
}

// trackedListener adds each connection to the set before anyone else sees it.
type trackedListener struct {
	net.Listener
	conns *connections
}

func (l trackedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{stream: nc.(stream), conns: l.conns, idleSince: time.Now()}
	l.conns.add(c)
	return c, nil
}

// stream is what TCP and Unix connections have in common.
type stream interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// A conn is a connection that can be ended while idle, and only while idle.
// net/http still calls a connection idle when it has read the next request but
// has not parsed it; a conn stops being idle with the first byte.
type conn struct {
	stream
	conns *connections

	mu        sync.Mutex
	idleSince time.Time // zero while a request is under way
	ending    bool      // endIfIdle has woken the reader
}

// endIfIdle wakes the goroutine that waits for the next request. That one
// decides, since only the reader can know that there was nothing to read.
func (c *conn) endIfIdle(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.idleSince.IsZero() && time.Since(c.idleSince) >= limit {
		c.ending = true
		c.SetReadDeadline(time.Now())
	}
}

func (c *conn) setIdle(idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !idle {
		c.beginRequest()
	} else if c.idleSince.IsZero() {
		c.idleSince = time.Now()
	}
}

// beginRequest forgets that the connection was idle, and undoes endIfIdle when
// the request was faster. The lock is held.
func (c *conn) beginRequest() {
	c.idleSince = time.Time{}
	if c.ending {
		c.ending = false
		c.SetReadDeadline(time.Now().Add(headerTimeout))
	}
}

// Read is where idleness ends, one way or the other: with a request, or with
// the error on which net/http closes the connection.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.stream.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending && errors.Is(err, os.ErrDeadlineExceeded) {
		n, err = c.lastLook(p)
	}
	if n > 0 {
		c.beginRequest()
	}
	return n, err
}

// lastLook reads what is in the socket already, without waiting: a deadline
// wins over a request that came while it woke us. Nothing there is the end, as
// near to the look as can be: what the client sends from here on is too late.
func (c *conn) lastLook(p []byte) (n int, err error) {
	c.SetReadDeadline(time.Time{})
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Read(func(fd uintptr) bool {
		if n, _ = syscall.Read(int(fd), p); n <= 0 {
			n = 0
			syscall.Shutdown(int(fd), syscall.SHUT_WR)
		}
		return true
	})
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (c *conn) Close() error {
	c.conns.remove(c)
	return c.stream.Close()
}

// ReadFrom keeps sendfile(2) working, which net/http asks for by this name.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(c.stream, r)
}
