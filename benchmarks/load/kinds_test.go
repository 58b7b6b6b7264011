package main

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every way for a server to fail a request, each with the one kind and phase it must be counted as.
var misbehaviours = []struct {
	name   string
	kind   kind
	phase  phase
	behave func(c *net.TCPConn, in *bufio.Reader)
}{
	{"reset instead of an answer", kindReset, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		c.SetLinger(0)
		c.Close()
	}},
	{"reset within the body", kindReset, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
		c.SetLinger(0)
		c.Close()
	}},
	{"closed instead of an answer", kindClosed, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		c.Close()
	}},
	{"closed within the header", kindClosed, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Le")
		c.Close()
	}},
	{"reset within the header", kindReset, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Le")
		time.Sleep(20 * time.Millisecond)
		c.SetLinger(0)
		c.Close()
	}},
	{"stops within the header", kindTimeout, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Le")
	}},
	{"closed within the body", kindClosed, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
		c.Close()
	}},
	{"closed within a chunked body", kindClosed, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		c.Close()
	}},
	{"never answers", kindTimeout, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
	}},
	{"never ends its answer", kindTimeout, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
	}},
	{"another status", kindWrong, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello")
		c.Close()
	}},
	{"another body", kindWrong, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhel")
		c.Close()
	}},
	{"no HTTP at all", kindWrong, phaseRead, func(c *net.TCPConn, in *bufio.Reader) {
		nextRequest(in)
		fmt.Fprint(c, "good morning\r\n\r\n")
		c.Close()
	}},
}

func TestEachMisbehaviourIsCountedAsItsKind(t *testing.T) {
	for _, m := range misbehaviours {
		for _, mode := range []string{"new", "keep"} {
			t.Run(m.name+", "+mode, func(t *testing.T) {
				s := serve(t, m.behave)
				r := load(t, "-target", s.address(), "-mode", mode, "-connections", "2", "-max-requests", "2",
					"-timeout", "200ms", "-expect-prefix", "hello")
				r.expectFailures(t, 2, m.kind, m.phase, false)
				for _, f := range r.Failures {
					if !s.knows(f.Port) {
						t.Errorf("no connection came from port %d", f.Port)
					}
				}
			})
		}
	}
}

// expectFailures checks that exactly n requests failed, all in the same way.
func (r *result) expectFailures(t *testing.T, n int, k kind, p phase, reused bool) {
	t.Helper()
	if r.Failed != n || r.Kinds[k] != n {
		t.Fatalf("want %d %s, got %v: %+v", n, k, r.Kinds, r.Failures)
	}
	for _, f := range r.Failures {
		if f.Kind != k || f.Phase != p || f.Reused != reused || f.Error == "" || f.T < f.Due || f.Target == "" {
			t.Errorf("want %s in %s, reused %t; got %+v", k, p, reused, f)
		}
	}
}

func TestARefusedConnectionHasAPort(t *testing.T) {
	s := serve(t, wellBehaved)
	s.Close()
	for _, mode := range []string{"new", "keep"} {
		r := load(t, "-target", s.address(), "-mode", mode, "-max-requests", "3", "-rate", "1000")
		r.expectFailures(t, 3, kindRefused, phaseConnect, false)
		for _, f := range r.Failures {
			if f.Port == 0 {
				t.Error("the local port is not known")
			}
		}
	}
}

func TestAMissingUnixSocketRefuses(t *testing.T) {
	r := load(t, "-target", "unix:"+filepath.Join(t.TempDir(), "none"), "-max-requests", "1")
	r.expectFailures(t, 1, kindRefused, phaseConnect, false)
}

// A full queue drops the handshake of a TCP client, which then never gets a connection.
func TestAFullQueueIsATimeoutWhileConnecting(t *testing.T) {
	address := fullQueue(t, syscall.AF_INET, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	r := load(t, "-target", address, "-max-requests", "2", "-timeout", "200ms")
	r.expectFailures(t, 2, kindTimeout, phaseConnect, false)
	if r.Failures[0].Port == 0 {
		t.Error("the local port is not known")
	}
}

// The same with a Unix socket, where the kernel says EAGAIN instead of waiting.
func TestAFullUnixQueueIsATimeoutToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fullQueue(t, syscall.AF_UNIX, &syscall.SockaddrUnix{Name: path})
	r := load(t, "-target", "unix:"+path, "-max-requests", "2", "-timeout", "100ms")
	r.expectFailures(t, 2, kindTimeout, phaseConnect, false)
}

// fullQueue listens with the smallest queue there is, which one connection fills.
func fullQueue(t *testing.T, family int, address syscall.Sockaddr) string {
	t.Helper()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, address); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	network, name := "unix", ""
	switch bound, _ := syscall.Getsockname(fd); a := bound.(type) {
	case *syscall.SockaddrInet4:
		network, name = "tcp", fmt.Sprintf("127.0.0.1:%d", a.Port)
	case *syscall.SockaddrUnix:
		name = a.Name
	}
	c, err := net.Dial(network, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return name
}

func TestOverloadIsCountedAndNotSkipped(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) { nextRequest(in) })
	r := load(t, "-target", s.address(), "-in-flight", "3", "-max-requests", "10", "-rate", "1000", "-timeout", "500ms")
	if r.Requests != 10 || r.Kinds[kindOverload] != 7 || r.Kinds[kindTimeout] != 3 {
		t.Errorf("want 7 overload and 3 timeout, got %v", r.Kinds)
	}
}

func TestARequestWithoutAFreeConnectionIsOverload(t *testing.T) {
	s := serve(t, func(c *net.TCPConn, in *bufio.Reader) { time.Sleep(150 * time.Millisecond); wellBehaved(c, in) })
	r := load(t, "-target", s.address(), "-mode", "keep", "-connections", "1", "-max-requests", "2", "-rate", "1000",
		"-timeout", "100ms")
	// The first holds the only connection until its own time is over; the second, due 1 ms later,
	// either never gets it or gets it for a last moment.
	if r.Failed != 2 || r.Kinds[kindTimeout] < 1 {
		t.Errorf("want no answer at all, got %v", r.Kinds)
	}
}

func TestErrorsNameTheStatusAndTheBody(t *testing.T) {
	s := serve(t, wellBehaved)
	r := load(t, "-target", s.address(), "-max-requests", "1", "-expect-prefix", "bye")
	r.expectFailures(t, 1, kindWrong, phaseRead, false)
	if !strings.Contains(r.Failures[0].Error, `"hel"`) {
		t.Errorf("the error does not show the body: %s", r.Failures[0].Error)
	}
}
