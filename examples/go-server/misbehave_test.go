package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMisbehaviour(t *testing.T) {
	const alive = -1
	for name, c := range map[string]struct {
		flags string
		says  string
		code  int // some time after it was or was not ready
	}{
		"none":            {"", "ready", alive},
		"crash at start":  {"-crash-at-start", "", 3},
		"close ready":     {"-close-ready", "", alive},
		"ready no accept": {"-ready-no-accept", "ready", alive},
		"crash after":     {"-crash-after 100ms", "ready", 2},
		"start delay":     {"-start-delay=100ms", "ready", alive},
		"unknown flag":    {"-no-such-flag", "", 2},
	} {
		c := c
		t.Run(name, func(t *testing.T) {
			socket, _ := newSocket(t)
			defer socket.Close()
			server := startChild(t, socket, []string{"MISBEHAVE=" + c.flags})
			if said := server.waitReady(); said != c.says {
				t.Errorf("it said %q", said)
			}
			if code := server.waitExit(400 * time.Millisecond); code != c.code {
				t.Errorf("it ended with %d", code)
			}
		})
	}
}

// TestSaysNothing: silence is neither a line nor the end of the pipe.
func TestSaysNothing(t *testing.T) {
	for _, flag := range []string{"-never-ready", "-silent"} {
		t.Run(flag, func(t *testing.T) {
			socket, _ := newSocket(t)
			defer socket.Close()
			server := startChild(t, socket, nil, flag)
			said := make(chan string, 1)
			go func() { said <- server.waitReady() }()
			select {
			case text := <-said:
				t.Errorf("it said %q", text)
			case <-time.After(300 * time.Millisecond):
			}
			server.term()
			if code := server.waitExit(2 * time.Second); code != 0 {
				t.Errorf("it ended with %d", code)
			}
		})
	}
}

func TestIgnoreTerm(t *testing.T) {
	socket, _ := newSocket(t)
	defer socket.Close()
	server := startChild(t, socket, nil, "-ignore-term")
	server.waitReady()
	server.term()
	if code := server.waitExit(300 * time.Millisecond); code != -1 {
		t.Errorf("it ended with %d", code)
	}
}

func TestFailShare(t *testing.T) {
	socket, address := newSocket(t)
	defer socket.Close()
	startChild(t, socket, nil, "-fail-share", "0.5").waitReady()
	codes := map[int]int{}
	for i := 0; i < 200; i++ {
		resp, err := http.Get("http://" + address.String() + "/")
		must(t, err)
		resp.Body.Close()
		codes[resp.StatusCode]++
		if resp.Header.Get("X-Version") != "dev" || resp.Header.Get("X-Pid") == "" {
			t.Fatal("an answer without X-Version or X-Pid")
		}
	}
	if codes[500] < 60 || codes[200] < 60 {
		t.Errorf("answers by code: %v", codes)
	}
}

func TestGrandchildren(t *testing.T) {
	socket, _ := newSocket(t)
	defer socket.Close()
	log := filepath.Join(t.TempDir(), "stderr")
	stderr, err := os.Create(log)
	must(t, err)
	server := startChildOn(t, []*os.File{socket}, stderr, nil, "-fork-grandchild")
	if said := server.waitReady(); said != "ready" {
		t.Fatalf("it said %q", said)
	}
	time.Sleep(100 * time.Millisecond) // for sh to become sleep
	server.term()
	if code := server.waitExit(2 * time.Second); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
	text, err := os.ReadFile(log)
	must(t, err)
	pids := 0
	for _, line := range strings.Split(string(text), "\n") {
		var pid int
		if n, _ := fmt.Sscanf(line, "grandchild %d", &pid); n != 1 {
			continue
		}
		pids++
		syscall.Kill(pid, syscall.SIGTERM)
		time.Sleep(50 * time.Millisecond)
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("grandchild %d: %v", pid, err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if pids != 2 {
		t.Errorf("%d grandchildren in %q", pids, text)
	}
}

// TestBaked: a bad release is another binary with the same command line.
func TestBaked(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "bad")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=v3 -X 'main.baked=-addr=127.0.0.1:0 -crash-at-start'", "-o", binary)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(binary, "-version").Output()
	if err != nil || string(out) != "v3\n" {
		t.Errorf("-version gave %q, %v", out, err)
	}
	err = exec.Command(binary).Run()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 3 {
		t.Errorf("it ended with %v", err)
	}
}

// TestAcceptEvery: what is not accepted yet waits in the queue, and is served.
func TestAcceptEvery(t *testing.T) {
	socket, address := newSocket(t)
	defer socket.Close()
	startChild(t, socket, nil, "-accept-every", "100ms").waitReady()
	began := time.Now()
	for i := 0; i < 3; i++ {
		client, err := net.Dial("tcp", address.String())
		must(t, err)
		defer client.Close()
	}
	if n := queueLength(t, socket); n == 0 {
		t.Error("nobody waits in the queue")
	}
	client, err := net.Dial("tcp", address.String())
	must(t, err)
	defer client.Close()
	_, err = roundTrip(client, bufio.NewReader(client), "/")
	must(t, err)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("four connections were accepted within %v", took)
	}
}

func TestLogConnections(t *testing.T) {
	socket, address := newSocket(t)
	defer socket.Close()
	log := filepath.Join(t.TempDir(), "conns")
	server := startChild(t, socket, nil, "-log-connections", log)
	server.waitReady()
	client, err := net.Dial("tcp", address.String())
	must(t, err)
	defer client.Close()
	_, err = roundTrip(client, bufio.NewReader(client), "/")
	must(t, err)
	text, err := os.ReadFile(log)
	must(t, err)
	port := client.LocalAddr().(*net.TCPAddr).Port
	if want := fmt.Sprintf("conn %d %d dev ", port, server.Process.Pid); !strings.HasPrefix(string(text), want) {
		t.Errorf("the log is %q, and does not begin with %q", text, want)
	}
}

// TestNotify: the same word on a path and on an abstract address.
func TestNotify(t *testing.T) {
	for _, address := range []string{filepath.Join(t.TempDir(), "notify"), "@go-server-test-" + strconv.Itoa(os.Getpid())} {
		mailbox, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		must(t, err)
		defer mailbox.Close()
		socket, _ := newSocket(t)
		defer socket.Close()
		startChild(t, socket, []string{"NOTIFY_SOCKET=" + address}, "-notify")
		mailbox.SetReadDeadline(time.Now().Add(5 * time.Second))
		p := make([]byte, 100)
		n, err := mailbox.Read(p)
		if err != nil || string(p[:n]) != "READY=1" {
			t.Errorf("%s got %q, %v", address, p[:n], err)
		}
	}
}

// TestUnixSocket: a Unix socket is served like any other, and its path is left
// alone at the end, since it belongs to whoever made it.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	defer l.Close()
	file, err := l.(*net.UnixListener).File()
	must(t, err)
	defer file.Close()
	server := startChild(t, file, nil)
	server.waitReady()
	client, err := net.Dial("unix", path)
	must(t, err)
	defer client.Close()
	_, err = roundTrip(client, bufio.NewReader(client), "/")
	must(t, err)
	server.term()
	time.Sleep(100 * time.Millisecond) // for the signal to arrive, well within the grace
	last, err := roundTrip(client, bufio.NewReader(client), "/")
	if err != nil || !last {
		t.Errorf("after TERM: last %v, %v", last, err)
	}
	if code := server.waitExit(2 * time.Second); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// TestMetrics wants every line of the page to be one that Prometheus reads.
func TestMetrics(t *testing.T) {
	l, _, server := serveHere(t)
	defer server.Close()
	for i := 0; i < 2; i++ { // a request is counted after its answer
		resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
		must(t, err)
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		must(t, err)
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			fields := strings.Fields(line)
			if strings.HasPrefix(line, "# ") {
				continue
			}
			if _, err := strconv.ParseFloat(fields[len(fields)-1], 64); err != nil || len(fields) != 2 {
				t.Errorf("line %q", line)
			}
		}
		if want := `http_requests_total{code="200"} 1`; i == 1 && !strings.Contains(string(text), want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
