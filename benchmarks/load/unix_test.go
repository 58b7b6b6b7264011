package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestUnixSockets(t *testing.T) {
	for kind, name := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "s"),
		"abstract": fmt.Sprintf("@load-test-%d", os.Getpid()),
	} {
		t.Run(kind, func(t *testing.T) {
			serveUnix(t, name)
			for _, mode := range []string{"new", "keep"} {
				r := load(t, "-target", "unix:"+name, "-mode", mode, "-max-requests", "20", "-rate", "1000")
				if r.OK != 20 || r.Versions["v1"] != 20 {
					t.Errorf("%s: want 20 ok: %v", mode, r.Kinds)
				}
			}
		})
	}
}

func TestAMissingAbstractSocketRefuses(t *testing.T) {
	r := load(t, "-target", fmt.Sprintf("unix:@load-test-none-%d", os.Getpid()), "-max-requests", "1")
	r.expectFailures(t, 1, kindRefused, phaseConnect, false)
	if r.Failures[0].Port != 0 {
		t.Errorf("a Unix socket with port %d", r.Failures[0].Port)
	}
}

// serveUnix answers every request on a Unix socket.
func serveUnix(t *testing.T, name string) {
	t.Helper()
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(c)
		}
	}()
}

// answerAll answers every request on a connection, and closes it when asked to.
func answerAll(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		closing, err := nextRequest(in)
		if err != nil {
			return
		}
		reply(c, "")
		if closing {
			return
		}
	}
}
