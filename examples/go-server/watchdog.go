package main

import (
	"os"
	"strconv"
	"time"
)

// takeWatchdog reads how often whoever started us wants to hear WATCHDOG=1
// (sd_watchdog_enabled(3)): twice in the time that it would wait. 0 is never.
func takeWatchdog() time.Duration {
	value, pid := takeEnv("WATCHDOG_USEC"), takeEnv("WATCHDOG_PID")
	microseconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || microseconds <= 0 || (pid != "" && pid != strconv.Itoa(os.Getpid())) {
		return 0
	}
	return time.Duration(microseconds) * time.Microsecond / 2
}

// pat says again and again that we are well. A server that knows better when
// it is (that a lock can be had, that a worker answers) asks that first.
func (r *readiness) pat(every time.Duration) {
	if every <= 0 || r.socket == "" {
		return
	}
	go func() {
		for {
			r.notify("WATCHDOG=1")
			time.Sleep(every)
		}
	}()
}
