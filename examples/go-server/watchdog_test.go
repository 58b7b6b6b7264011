package main

import (
	"os"
	"strconv"
	"testing"
	"time"
)

func TestTheWatchdogIsForThisVeryProcess(t *testing.T) {
	for _, each := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"3000000", "", 1500 * time.Millisecond},
		{"3000000", strconv.Itoa(os.Getpid()), 1500 * time.Millisecond},
		{"3000000", "1", 0},
		{"", "", 0},
		{"0", "", 0},
		{"soon", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", each.usec)
		t.Setenv("WATCHDOG_PID", each.pid)
		if got := takeWatchdog(); got != each.want {
			t.Errorf("%q for %q: every %v, want %v", each.usec, each.pid, got, each.want)
		}
		if os.Getenv("WATCHDOG_USEC") != "" {
			t.Error("our children would be told, too")
		}
	}
}
