// Load sends HTTP requests at fixed instants and accounts for every one of them.
//
// It exists to judge zero-downtime upgrades, so its verdict is strict: a request counts as ok only
// if its complete and expected answer was read, nothing is ever sent a second time, and latency is
// counted from the instant at which the request was due, however late it could be sent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// Exit statuses.
const (
	exitOK     = 0 // every request was answered
	exitFailed = 1 // some request was not
	exitUsage  = 2 // the command line is wrong, or the record or the accounting failed
)

func main() {
	tune()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// tune makes the generator a light guest beside the server that it measures. Few objects live long
// here, so collecting rarely costs little memory and saves pauses. And thousands of requests per
// second fit one thread: with more, most of the processor time goes into threads waking each other.
func tune() {
	debug.SetGCPercent(400)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// run is the whole program; cancelling ctx ends the schedule early but gracefully.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parseConfig(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return exitUsage
	}
	sum, err := measure(ctx, cfg, stdout)
	if sum != nil {
		if cfg.verbose {
			sum.explain(stderr)
		}
		sum.print(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return exitUsage
	}
	return sum.exitStatus()
}

// measure carries out the run that cfg describes. The error is about the record or the accounting,
// never about a request.
func measure(ctx context.Context, cfg *config, stdout io.Writer) (*summary, error) {
	rec, err := openRecord(cfg.recordFile)
	if err != nil {
		return nil, err
	}
	alarm, err := newAlarm()
	if err != nil {
		return nil, err
	}
	defer alarm.close()

	col := newCollector(cfg, rec, stdout)
	go col.run()
	gen := newGenerator(cfg, col.inbox.put)
	started, scheduled := gen.run(ctx, alarm)
	col.close()

	sum := summarize(cfg, col.tally, started)
	sum.IdleClosed += gen.pool.close()
	return sum, errors.Join(sum.audit(scheduled), rec.close())
}
