package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEverySocketIsServed: two of TCP, one Unix, one UDP, in no order.
func TestEverySocketIsServed(t *testing.T) {
	first, one := newSocket(t)
	second, two := newSocket(t)
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	defer l.Close()
	local, err := l.(*net.UnixListener).File()
	must(t, err)
	datagrams, client := newDatagramSocket(t)
	sockets := []*os.File{first, datagrams, local, second}
	server := startChildOn(t, sockets, nil, nil)
	for _, each := range sockets {
		defer each.Close()
	}
	if said := server.waitReady(); said != "ready" {
		t.Fatalf("it said %q", said)
	}
	for _, place := range [][2]string{{"tcp", one.String()}, {"tcp", two.String()}, {"unix", path}} {
		conn, err := net.Dial(place[0], place[1])
		must(t, err)
		defer conn.Close()
		_, err = roundTrip(conn, bufio.NewReader(conn), "/")
		must(t, err)
	}
	must(t, send(client, "one"))
	wantEcho(t, client, "one", server)
	server.term()
	if code := server.waitExit(7 * time.Second); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// newDatagramSocket is a UDP socket, and a client of it.
func newDatagramSocket(t *testing.T) (*os.File, *net.UDPConn) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer conn.Close()
	file, err := conn.File()
	must(t, err)
	client, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	must(t, err)
	t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(10 * time.Second))
	return file, client
}

func send(client *net.UDPConn, text string) error {
	_, err := io.WriteString(client, text)
	return err
}

func wantEcho(t *testing.T, client *net.UDPConn, text string, server *child) {
	t.Helper()
	room := make([]byte, 200)
	n, err := client.Read(room)
	must(t, err)
	if want := fmt.Sprintf("%sversion dev\npid %d\n", text, server.Process.Pid); string(room[:n]) != want {
		t.Errorf("the answer is %q, not %q", room[:n], want)
	}
}

// TestDatagramsThatHadComeAreAnswered, though TERM comes with them: while the
// server is stopped, both wait.
func TestDatagramsThatHadComeAreAnswered(t *testing.T) {
	const many = 200
	socket, client := newDatagramSocket(t)
	defer socket.Close()
	server := startChild(t, socket, nil)
	server.waitReady()
	must(t, send(client, "x"))
	wantEcho(t, client, "x", server)
	server.stopped(t, func() {
		for i := 0; i < many; i++ {
			must(t, send(client, fmt.Sprintln(i)))
		}
		server.term()
	})
	for i := 0; i < many; i++ {
		wantEcho(t, client, fmt.Sprintln(i), server)
	}
	if code := server.waitExit(2 * time.Second); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// TestTheRestIsReadThoughTheDeadlineHasPassed looks at the last look alone.
func TestTheRestIsReadThoughTheDeadlineHasPassed(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	client, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	must(t, err)
	defer client.Close()
	client.SetDeadline(time.Now().Add(5 * time.Second))
	for i := 0; i < 100; i++ {
		must(t, send(client, fmt.Sprintln(i)))
	}
	conn.SetReadDeadline(time.Unix(1, 0))
	e := newEchoes([]*net.UDPConn{conn})
	e.serve()
	e.reading.Wait()
	room := make([]byte, 200)
	for i := 0; i < 100; i++ {
		n, err := client.Read(room)
		must(t, err)
		if want := fmt.Sprintln(i) + string(e.signature); string(room[:n]) != want {
			t.Fatalf("the answer is %q, not %q", room[:n], want)
		}
	}
}

func TestTLS(t *testing.T) {
	socket, address := newSocket(t)
	defer socket.Close()
	server := startChild(t, socket, nil, "-tls")
	server.waitReady()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
	}}
	for i := 0; i < 2; i++ {
		resp, err := client.Get("https://" + address.String() + "/")
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if resp.Proto != "HTTP/1.1" || !bytes.HasPrefix(body, []byte("version dev\n")) {
			t.Errorf("%s, %q", resp.Proto, body)
		}
	}
	server.term() // one connection is idle: it is let go of, and nothing waits for it
	if code := server.waitExit(7 * time.Second); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// TestTLSConnectionsAreIdleOrNot as others are: what is idle is ended, and
// what has a request is not.
func TestTLSConnectionsAreIdleOrNot(t *testing.T) {
	config, err := secure("", "")
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	conns := newConnections()
	server := &http.Server{
		Handler:   newHandler(conns, &metrics{}, misbehaviour{}),
		ConnState: conns.stateChanged,
		TLSConfig: config,
	}
	conns.serve(server, []net.Listener{l}, make(chan error, 1))
	dial := func() (*tls.Conn, *bufio.Reader) {
		client, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		must(t, err)
		t.Cleanup(func() { client.Close() })
		return client, bufio.NewReader(client)
	}
	idle, reader := dial()
	_, err = roundTrip(idle, reader, "/")
	must(t, err)
	busy, busyReader := dial()
	told := later(0, func() error { return wantLast(roundTrip(busy, busyReader, "/slow?ms=600")) })
	time.Sleep(20 * time.Millisecond)
	wantDrain(t, l, conns, 580*time.Millisecond)
	must(t, <-told)
	if _, err := idle.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the idle connection's end is %v", err)
	}
}

func TestCertAndKeyGoTogether(t *testing.T) {
	if _, err := secure("cert.pem", ""); err == nil {
		t.Error("a certificate without a key is taken")
	}
}
