package main

import (
	"flag"
	"os"
	"syscall"
	"testing"
	"time"
)

var swaps = flag.Int("swaps", 10, "how often the stress tests swap servers")

const (
	swapEvery = 400 * time.Millisecond
	standby   = 50 * time.Millisecond
)

// TestSwapGroup replaces servers that have a SO_REUSEPORT socket each.
func TestSwapGroup(t *testing.T) {
	socket, address := newSocket(t)
	steer(t, socket, 0)
	stress(t, address.String(), func() *child { return startReady(t, socket) }, func(old *child) *child {
		retired := socket
		socket = groupSocket(t, address)
		next := startReady(t, socket)
		steer(t, socket, 1)
		time.Sleep(standby)
		for queueLength(t, retired) > 0 {
			time.Sleep(time.Millisecond)
		}
		retire(t, old, retired)
		steer(t, socket, 0) // the last of the group took the index of the one that left
		return next
	})
	socket.Close()
}

// retire lets a server go, then takes its socket out of the group.
func retire(t *testing.T, old *child, socket *os.File) {
	ino := inode(t, socket)
	old.term()
	for old.holds(ino) {
		time.Sleep(time.Millisecond)
	}
	syscall.Shutdown(int(socket.Fd()), syscall.SHUT_RD)
	socket.Close()
}

// TestSwapShared replaces servers that accept on one and the same socket.
func TestSwapShared(t *testing.T) {
	socket, address := newSocket(t)
	defer socket.Close()
	start := func() *child { return startReady(t, socket) }
	stress(t, address.String(), start, func(old *child) *child {
		next := start()
		old.term()
		return next
	})
}

func startReady(t *testing.T, socket *os.File) *child {
	t.Helper()
	c := startChild(t, socket, nil)
	if said := c.waitReady(); said != "ready" {
		t.Fatalf("the server said %q", said)
	}
	return c
}

// stress swaps servers under load, and wants every request answered and every
// replaced server gone with exit code 0.
func stress(t *testing.T, address string, start func() *child, swap func(old *child) *child) {
	current := start()
	l := startLoad(address)
	began := time.Now()
	var old []*child
	for i := 0; i < *swaps; i++ {
		next := time.Now().Add(swapEvery)
		old = append(old, current)
		current = swap(current)
		time.Sleep(time.Until(next))
	}
	for _, c := range old {
		if code := c.waitExit(10 * time.Second); code != 0 {
			t.Errorf("a replaced server ended with %d", code)
		}
	}
	took := time.Since(began)
	l.end()

	t.Logf("%d swaps in %.1f s: %d requests (%.0f/s), %d connections, %d failed",
		*swaps, took.Seconds(), l.sent.Load(), float64(l.sent.Load())/took.Seconds(), l.dials.Load(), l.failed.Load())
	for text, n := range l.errors {
		t.Errorf("%d times %s", n, text)
	}
}
