package main

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// post answers datagrams: behave gets each with its number, and a way to send something back.
type post struct {
	*net.UDPConn
	mu    sync.Mutex
	ports map[int]int // how many datagrams came from each
}

func servePost(t *testing.T, behave func(n int, datagram []byte, send func(parts ...string))) *post {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	p := &post{UDPConn: socket, ports: map[int]int{}}
	go func() {
		room := make([]byte, 2048)
		for n := 0; ; n++ {
			length, from, err := socket.ReadFromUDP(room)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.ports[from.Port]++
			p.mu.Unlock()
			behave(n, bytes.Clone(room[:length]), func(parts ...string) {
				var all []byte
				for _, part := range parts {
					all = append(all, part...)
				}
				socket.WriteToUDP(all, from)
			})
		}
	}()
	return p
}

func (p *post) target() string { return "udp://" + p.LocalAddr().String() }

const signature = "version v1\npid 42\n"

func echoed(_ int, datagram []byte, send func(...string)) { send(string(datagram), signature) }

func TestADatagramIsARequest(t *testing.T) {
	for mode, sockets := range map[string]int{"new": 40, "keep": 4} {
		p := servePost(t, echoed)
		r := load(t, "-target", p.target(), "-mode", mode, "-connections", "4", "-max-requests", "40", "-rate", "1000",
			"-expect-prefix", "version")
		if r.OK != 40 || r.Versions["v1"] != 40 || r.ConnectionsOpened != sockets {
			t.Errorf("%s: want 40 ok by v1 over %d sockets: %+v", mode, sockets, r)
		}
		p.mu.Lock()
		for _, line := range r.record {
			if p.ports[number(t, line.port)] == 0 || line.pid != "42" {
				t.Errorf("%s: nothing came from port %s, or pid %s is not the server's", mode, line.port, line.pid)
			}
		}
		p.mu.Unlock()
	}
}

// A plain echo says nothing of itself, and is a right answer all the same.
func TestAPlainEchoIsAnAnswer(t *testing.T) {
	p := servePost(t, func(_ int, datagram []byte, send func(...string)) { send(string(datagram)) })
	if r := load(t, "-target", p.target(), "-max-requests", "5", "-rate", "1000"); r.Versions["unknown"] != 5 {
		t.Errorf("want 5 ok by an unknown version: %+v", r.figures)
	}
}

func TestALostDatagramIsOfItsOwnKind(t *testing.T) {
	for _, mode := range []string{"new", "keep"} {
		p := servePost(t, func(n int, datagram []byte, send func(...string)) {
			if n%2 == 0 {
				echoed(n, datagram, send)
			}
		})
		r := load(t, "-target", p.target(), "-mode", mode, "-connections", "1", "-max-requests", "4", "-rate", "10", "-timeout", "50ms")
		if r.OK != 2 {
			t.Errorf("%s: want every other answered: %+v", mode, r.figures)
		}
		if r.Failed != 2 || r.Kinds[kindLost] != 2 || r.Failures[0].Port == 0 || r.Failures[0].Phase != phaseRead {
			t.Errorf("%s: want 2 lost, with their ports: %+v", mode, r.Failures)
		}
	}
}

// An answer that came too late belongs to its own request, not to the next one on the socket.
func TestALateAnswerIsNotTheNextOnes(t *testing.T) {
	var held []byte
	p := servePost(t, func(n int, datagram []byte, send func(...string)) {
		if n == 0 {
			held = datagram
			return
		}
		send(string(held), signature)
		echoed(n, datagram, send)
	})
	r := load(t, "-target", p.target(), "-mode", "keep", "-connections", "1", "-max-requests", "2", "-rate", "10", "-timeout", "50ms")
	if r.OK != 1 || r.Kinds[kindLost] != 1 || r.ConnectionsOpened != 1 {
		t.Errorf("want the first lost and the second ok on the same socket: %+v", r)
	}
}

func TestWrongDatagrams(t *testing.T) {
	for name, behave := range map[string]func(int, []byte, func(...string)){
		"another's answer": func(_ int, _ []byte, send func(...string)) { send("hello") },
		"another body":     func(_ int, datagram []byte, send func(...string)) { send(string(datagram), "bye") },
	} {
		t.Run(name, func(t *testing.T) {
			p := servePost(t, behave)
			r := load(t, "-target", p.target(), "-max-requests", "2", "-expect-prefix", "version")
			r.expectFailures(t, 2, kindWrong, phaseRead, false)
		})
	}
}

func TestAClosedUDPPortRefuses(t *testing.T) {
	p := servePost(t, echoed)
	p.Close()
	for _, mode := range []string{"new", "keep"} {
		r := load(t, "-target", p.target(), "-mode", mode, "-connections", "1", "-max-requests", "3")
		r.expectFailures(t, 3, kindRefused, phaseRead, false)
		if r.Failures[0].Port == 0 {
			t.Error("the local port is not known")
		}
	}
}
