package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// config is the command line, checked.
type config struct {
	targets     []*target
	path        string
	rate        float64
	duration    time.Duration
	maxRequests int
	modes       []mode
	connections int
	inFlight    int
	sources     int
	timeout     time.Duration
	expect      string
	recordFile  string
	live        bool
	verbose     bool
}

// mode is how a request gets its connection.
type mode string

const (
	modeNew  mode = "new"  // one of its own
	modeKeep mode = "keep" // a kept one, from the pool
)

// parseConfig reads the command line; what is wrong with it is the error.
func parseConfig(args []string, stderr io.Writer) (*config, error) {
	cfg := &config{}
	var addresses listFlag
	var modeName string
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Var(&addresses, "target", "`ADDRESS`: HOST:PORT, https://HOST:PORT, udp://HOST:PORT, unix:/path, unix:@name;\nseveral, with commas or repeated, get the same share each")
	flags.StringVar(&cfg.path, "path", "/", "path to ask for")
	flags.Float64Var(&cfg.rate, "rate", 100, "requests per second, over all modes and targets")
	flags.DurationVar(&cfg.duration, "duration", 10*time.Second, "how long; 0: until SIGINT or SIGTERM")
	flags.IntVar(&cfg.maxRequests, "max-requests", 0, "stop after so many requests; 0: no limit")
	flags.StringVar(&modeName, "mode", "new", "new: a connection per request; keep: kept alive; both: half each")
	flags.IntVar(&cfg.connections, "connections", 10, "size of the keep-alive pool, over all targets")
	flags.IntVar(&cfg.inFlight, "in-flight", 10_000, "most requests under way; more fail as overload")
	flags.IntVar(&cfg.sources, "sources", 1, "rotate over 127.0.0.1 to 127.0.0.`N` as source addresses")
	flags.DurationVar(&cfg.timeout, "timeout", 5*time.Second, "per request: from sending to the complete answer")
	flags.StringVar(&cfg.expect, "expect-prefix", "", "what every body must begin with")
	flags.StringVar(&cfg.recordFile, "record", "", "write one CSV line per request to `FILE`")
	flags.BoolVar(&cfg.live, "live", false, "print a JSON line every 200 ms")
	flags.BoolVar(&cfg.verbose, "v", false, "also print a summary for people, on stderr")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err := cfg.check(modeName); err != nil {
		return nil, err
	}
	return cfg, cfg.resolve(addresses)
}

// check refuses values that could not be meant.
func (c *config) check(modeName string) error {
	switch modeName {
	case "new", "keep":
		c.modes = []mode{mode(modeName)}
	case "both":
		c.modes = []mode{modeNew, modeKeep}
	default:
		return fmt.Errorf("-mode %q: new, keep or both", modeName)
	}
	switch {
	case !(c.rate > 0) || math.IsInf(c.rate, 0):
		return errors.New("-rate must be above 0")
	case c.duration < 0 || c.maxRequests < 0:
		return errors.New("-duration and -max-requests must not be negative")
	case c.connections < 1 || c.inFlight < 1:
		return errors.New("-connections and -in-flight must be at least 1")
	case c.sources < 1 || c.sources > 254:
		return errors.New("-sources must be from 1 to 254")
	case c.timeout <= 0:
		return errors.New("-timeout must be above 0")
	case !strings.HasPrefix(c.path, "/") || strings.ContainsAny(c.path, " \r\n"):
		return fmt.Errorf("-path %q must begin with / and be without spaces", c.path)
	}
	return nil
}

// resolve turns the addresses into targets, once: a name looked up per request would measure the
// resolver, and a name with two addresses would make the dialer try the other one in silence.
func (c *config) resolve(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("-target is missing")
	}
	for _, address := range addresses {
		t, err := newTarget(address, c.path)
		if err != nil {
			return fmt.Errorf("-target %s: %w", address, err)
		}
		if c.sources > 1 && !t.onLoopback() {
			return fmt.Errorf("-sources works for targets in 127.0.0.0/8 only, not for %s", address)
		}
		c.targets = append(c.targets, t)
	}
	if c.modes[len(c.modes)-1] == modeKeep && c.connections < len(c.targets) {
		return fmt.Errorf("-connections %d is less than one for each of %d targets", c.connections, len(c.targets))
	}
	return nil
}

// listFlag is a flag with one value or several, that may be repeated.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

func (l *listFlag) Set(value string) error {
	*l = append(*l, strings.Split(value, ",")...)
	return nil
}
