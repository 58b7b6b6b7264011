package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// A pair is a connection that waits for a request, and its client.
func pair(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	server, err := trackedListener{l, newConnections()}.Accept()
	must(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return server.(*conn), client
}

func TestRequestBeatsEnd(t *testing.T) {
	c, client := pair(t)
	io.WriteString(client, "GET")
	c.endIfIdle(0)

	p := make([]byte, 10)
	if n, err := c.Read(p); n != 3 || err != nil {
		t.Fatalf("a request that came in time was read as %d, %v", n, err)
	}
	io.WriteString(client, " /")
	c.endIfIdle(0) // no longer idle
	if n, err := c.Read(p); n != 2 || err != nil {
		t.Fatalf("the rest of it was read as %d, %v", n, err)
	}
}

func TestEndWakesIdleReader(t *testing.T) {
	c, client := pair(t)
	c.endIfIdle(time.Hour) // not idle for so long: nothing happens
	time.AfterFunc(20*time.Millisecond, func() { c.endIfIdle(0) })

	if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("an idle connection's read gave %d, %v", n, err)
	}
	client.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the client saw %v, not the end", err)
	}
}

const (
	testGrace = 100 * time.Millisecond
	testIdle  = 300 * time.Millisecond
)

func TestDrainOfNobody(t *testing.T) {
	l, conns, _ := serveHere(t)
	wantDrain(t, l, conns, 0)
}

func TestDrainEndsLongIdleAfterGrace(t *testing.T) {
	l, conns, _ := serveHere(t)
	visit(t, l)
	time.Sleep(testIdle)
	wantDrain(t, l, conns, testGrace)
}

func TestDrainLeavesTimeToShortIdle(t *testing.T) {
	l, conns, _ := serveHere(t)
	visit(t, l)
	wantDrain(t, l, conns, testIdle)
}

func TestDrainEndsWhenAllAreTold(t *testing.T) {
	l, conns, _ := serveHere(t)
	request := visit(t, l)
	told := later(50*time.Millisecond, func() error { return wantLast(request("/")) })
	wantDrain(t, l, conns, 50*time.Millisecond)
	must(t, <-told)
}

func TestDrainFinishesRequestUnderWay(t *testing.T) {
	l, conns, _ := serveHere(t)
	request := visit(t, l)
	told := later(0, func() error { return wantLast(request("/slow?ms=700")) })
	time.Sleep(20 * time.Millisecond)
	wantDrain(t, l, conns, 680*time.Millisecond)
	must(t, <-told)
}

// visit opens a connection, and has one request answered on it.
func visit(t *testing.T, l net.Listener) (request func(path string) (last bool, err error)) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { client.Close() })
	reader := bufio.NewReader(client)
	request = func(path string) (bool, error) { return roundTrip(client, reader, path) }
	_, err = request("/")
	must(t, err)
	return request
}

// wantDrain drains, and wants it to take about so long.
func wantDrain(t *testing.T, l net.Listener, conns *connections, want time.Duration) {
	t.Helper()
	began := time.Now()
	conns.drain([]net.Listener{l}, testGrace, testIdle)
	if took := time.Since(began); took < want-15*time.Millisecond || took > want+85*time.Millisecond {
		t.Errorf("the drain took %v, not about %v", took, want)
	}
}

func wantLast(last bool, err error) error {
	if err == nil && !last {
		err = errors.New("the answer did not say Connection: close")
	}
	return err
}

func later(wait time.Duration, do func() error) <-chan error {
	done := make(chan error, 1)
	time.AfterFunc(wait, func() { done <- do() })
	return done
}

// serveHere runs the server in this process.
func serveHere(t *testing.T) (net.Listener, *connections, *http.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	conns := newConnections()
	server := &http.Server{Handler: newHandler(conns, &metrics{}, misbehaviour{}), ConnState: conns.stateChanged}
	conns.serve(server, []net.Listener{l}, make(chan error, 1))
	return l, conns, server
}

// TestCrossing aims requests at the very moment in which idle connections are
// ended, and compares that with http.Server.Shutdown. A request counts if its
// client saw no end right before sending it. What is lost by drain was sent in
// the microseconds between that look and the end.
func TestCrossing(t *testing.T) {
	const grace = 100 * time.Millisecond
	byDrain := cross(t, func(l net.Listener, conns *connections, _ *http.Server) {
		conns.drain([]net.Listener{l}, grace, 0)
	})
	byShutdown := cross(t, func(l net.Listener, conns *connections, server *http.Server) {
		conns.leaving.Store(true)
		l.Close()
		time.Sleep(grace)
		server.Shutdown(context.Background())
	})
	t.Logf("lost by drain: %d of %d; by Shutdown: %d of %d",
		byDrain.lost, byDrain.sent, byShutdown.lost, byShutdown.sent)
	if byDrain.lost*20 > byDrain.sent {
		t.Error("drain cuts requests")
	}
}

type crossing struct{ sent, lost int }

func cross(t *testing.T, end func(net.Listener, *connections, *http.Server)) (sum crossing) {
	const rounds, clients = 20, 50
	for i := 0; i < rounds; i++ {
		l, conns, server := serveHere(t)
		results := make(chan crossing)
		warm := make(chan bool)
		began := make(chan time.Time)
		for j := 0; j < clients; j++ {
			go func() {
				client, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					panic(err)
				}
				defer client.Close()
				reader := bufio.NewReader(client)
				roundTrip(client, reader, "/")
				warm <- true
				at := (<-began).Add(98*time.Millisecond + time.Duration(rand.Intn(14000))*time.Microsecond)
				time.Sleep(time.Until(at))
				if sawEnd(client.(*net.TCPConn)) {
					results <- crossing{}
				} else if _, err := roundTrip(client, reader, "/"); err != nil {
					results <- crossing{1, 1}
				} else {
					results <- crossing{1, 0}
				}
			}()
		}
		for j := 0; j < clients; j++ {
			<-warm
		}
		now := time.Now()
		for j := 0; j < clients; j++ {
			began <- now
		}
		go end(l, conns, server)
		for j := 0; j < clients; j++ {
			r := <-results
			sum.sent += r.sent
			sum.lost += r.lost
		}
		server.Close()
	}
	return sum
}

// sawEnd tells whether the server has ended the connection, as far as the
// client's kernel knows.
func sawEnd(client *net.TCPConn) bool {
	raw, err := client.SyscallConn()
	if err != nil {
		return true
	}
	ended := true
	raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ended = err != syscall.EAGAIN
	})
	return ended
}
