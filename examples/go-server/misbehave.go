package main

import (
	"flag"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// baked holds flags put in by the linker, -ldflags "-X 'main.baked=-delay=1s'",
// so that a bad release can be a binary of its own with the usual command line.
var baked string

// arguments are the flags from everywhere; the later ones win.
func arguments() []string {
	args := append(strings.Fields(baked), strings.Fields(os.Getenv("MISBEHAVE"))...)
	return append(args, os.Args[1:]...)
}

// misbehaviour is what a server does wrong on request, for tests and demos.
// Leave this file behind when you copy the others.
type misbehaviour struct {
	crashAtStart   bool
	neverReady     bool
	closeReady     bool
	readyNoAccept  bool
	crashAfter     time.Duration
	hangAfter      time.Duration
	ignoreTerm     bool
	failShare      float64
	delay          time.Duration
	startDelay     time.Duration
	acceptEvery    time.Duration
	forkGrandchild bool
}

func (m *misbehaviour) addFlags(flags *flag.FlagSet) {
	flags.BoolVar(&m.crashAtStart, "crash-at-start", false, "misbehave: exit 3 before ready")
	flags.BoolVar(&m.neverReady, "never-ready", false, "misbehave: live, say nothing, accept nothing")
	flags.BoolVar(&m.closeReady, "close-ready", false, "misbehave: serve, but close READY_FD without a word")
	flags.BoolVar(&m.readyNoAccept, "ready-no-accept", false, "misbehave: say ready, accept nothing")
	flags.DurationVar(&m.crashAfter, "crash-after", 0, "misbehave: exit 2 this long after ready")
	flags.DurationVar(&m.hangAfter, "hang-after", 0, "misbehave: stand still this long after ready: no answer, no WATCHDOG=1, no end")
	flags.BoolVar(&m.ignoreTerm, "ignore-term", false, "misbehave: ignore TERM")
	flags.Float64Var(&m.failShare, "fail-share", 0, "misbehave: answer this share of / and /slow with 500")
	flags.DurationVar(&m.delay, "delay", 0, "misbehave: wait before each answer of / and /slow")
	flags.DurationVar(&m.startDelay, "start-delay", 0, "misbehave: wait before accepting and saying ready")
	flags.DurationVar(&m.acceptEvery, "accept-every", 0, "misbehave: accept no more than one connection in this time, on each listener")
	flags.BoolVar(&m.forkGrandchild, "fork-grandchild", false, "misbehave: leave two children behind that ignore TERM")
}

// starting misbehaves before the server accepts.
func (m misbehaviour) starting() {
	if m.ignoreTerm {
		signal.Ignore(syscall.SIGTERM)
	}
	if m.forkGrandchild {
		leaveBehind(&syscall.SysProcAttr{Setsid: true})
		leaveBehind(&syscall.SysProcAttr{})
	}
	time.Sleep(m.startDelay)
	if m.crashAtStart {
		fmt.Fprintln(os.Stderr, "misbehaving: crash at start")
		os.Exit(3)
	}
}

// announce says ready, unless it misbehaves there.
func (m misbehaviour) announce(ready *readiness, say func(*readiness) error) error {
	switch {
	case m.neverReady:
		return nil
	case m.closeReady:
		return syscall.Close(ready.fd)
	}
	return say(ready)
}

// running misbehaves once the server is ready.
func (m misbehaviour) running() {
	if m.hangAfter > 0 {
		time.AfterFunc(m.hangAfter, func() {
			fmt.Fprintf(os.Stderr, "misbehaving: hang %v after ready\n", m.hangAfter)
			syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		})
	}
	if m.crashAfter <= 0 {
		return
	}
	time.AfterFunc(m.crashAfter, func() {
		fmt.Fprintf(os.Stderr, "misbehaving: crash %v after ready\n", m.crashAfter)
		os.Exit(2)
	})
}

// accepts tells whether the server should accept at all.
func (m misbehaviour) accepts() bool {
	return !m.neverReady && !m.readyNoAccept
}

// slow makes the listeners accept slowly, so that connections wait in a queue.
func (m misbehaviour) slow(listeners []net.Listener) []net.Listener {
	if m.acceptEvery <= 0 {
		return listeners
	}
	slowed := make([]net.Listener, len(listeners))
	for i, l := range listeners {
		slowed[i] = slowListener{l, m.acceptEvery}
	}
	return slowed
}

// slowListener pauses before each connection that it accepts.
type slowListener struct {
	net.Listener
	pause time.Duration
}

func (l slowListener) Accept() (net.Conn, error) {
	time.Sleep(l.pause)
	return l.Listener.Accept()
}

// stopSignals are the signals to end on.
func (m misbehaviour) stopSignals() []os.Signal {
	if m.ignoreTerm {
		return []os.Signal{os.Interrupt}
	}
	return []os.Signal{os.Interrupt, syscall.SIGTERM}
}

// spoil delays and fails answers. The health check and the metrics stay
// honest: a bad release is one whose own checks do not notice.
func (m misbehaviour) spoil(next http.Handler) http.Handler {
	if m.delay <= 0 && m.failShare <= 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(m.delay)
		if rand.Float64() < m.failShare {
			http.Error(w, "misbehaving: failed on purpose", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// leaveBehind starts a child that ignores TERM and outlives us.
func leaveBehind(attr *syscall.SysProcAttr) {
	child := exec.Command("sh", "-c", "trap '' TERM; exec sleep 1000")
	child.SysProcAttr = attr
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "misbehaving: no grandchild: ", err)
		return
	}
	fmt.Fprintf(os.Stderr, "grandchild %d\n", child.Process.Pid)
	go child.Wait()
}
