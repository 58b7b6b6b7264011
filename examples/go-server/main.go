// Command go-server is an HTTP server that can be replaced without losing a
// request: it takes its listeners from whoever started it, says when it is
// ready, and on TERM ends without cutting anybody off.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"
)

// version is set by the linker: -ldflags "-X main.version=v2".
var version = "dev"

type options struct {
	addr           string
	notify         bool
	silent         bool
	drainGrace     time.Duration
	drainIdle      time.Duration
	tls            bool
	cert           string
	key            string
	logConnections string
	misbehaviour   misbehaviour
}

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	log.SetPrefix(fmt.Sprintf("go-server %s[%d] ", version, os.Getpid()))
	if err := run(parseOptions()); err != nil {
		log.Fatal(err)
	}
}

func parseOptions() options {
	var o options
	flags := flag.NewFlagSet("go-server", flag.ExitOnError)
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "listen here when no listener was passed")
	flags.BoolVar(&o.notify, "notify", false, "say READY=1 over NOTIFY_SOCKET instead of a line on READY_FD")
	flags.BoolVar(&o.silent, "silent", false, "do not say when it is ready")
	flags.DurationVar(&o.drainGrace, "drain-grace", 300*time.Millisecond, "after TERM, close no idle connection sooner than this")
	flags.DurationVar(&o.drainIdle, "drain-idle", 5*time.Second, "after TERM, close a connection once it was idle for this long")
	flags.BoolVar(&o.tls, "tls", false, "serve over TLS; without -cert with a certificate made at start, for trying")
	flags.StringVar(&o.cert, "cert", "", "`file` with the certificates, PEM")
	flags.StringVar(&o.key, "key", "", "`file` with the first one's private key, PEM")
	flags.StringVar(&o.logConnections, "log-connections", "", "append a line per accepted connection to this `file` (- is stderr)")
	showVersion := flags.Bool("version", false, "print the version and exit")
	o.misbehaviour.addFlags(flags)

	flags.Parse(arguments())
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "go-server: unexpected argument %q\n", flags.Arg(0))
		os.Exit(2)
	}
	if *showVersion {
		fmt.Println(version)
		os.Exit(0)
	}
	return o
}

// run is the life of the server, in order.
func run(o options) error {
	sockets, err := listen(o.addr)
	if err != nil {
		return err
	}
	ready, err := takeReadiness()
	if err != nil {
		return err
	}
	every := takeWatchdog()
	listeners := o.misbehaviour.slow(sockets.listeners)
	listeners, err = logConnections(listeners, o.logConnections)
	if err != nil {
		return err
	}
	o.misbehaviour.starting()

	conns := newConnections()
	server := &http.Server{
		Handler:           newHandler(conns, &metrics{}, o.misbehaviour),
		ConnState:         conns.stateChanged,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       2 * time.Minute,
	}
	if o.tls || o.cert != "" || o.key != "" {
		if server.TLSConfig, err = secure(o.cert, o.key); err != nil {
			return err
		}
	}
	echoes := newEchoes(sockets.datagrams)

	// Ask for the signals before saying ready: from then on they may come.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, o.misbehaviour.stopSignals()...)

	failed := make(chan error, len(listeners))
	if o.misbehaviour.accepts() {
		conns.serve(server, listeners, failed)
		echoes.serve()
	}
	if err := o.misbehaviour.announce(ready, o.announce); err != nil {
		log.Print("cannot say that it is ready: ", err)
	}
	ready.pat(every)
	o.misbehaviour.running()

	select {
	case err := <-failed:
		return err
	case sig := <-stop:
		log.Printf("%v: draining", sig)
	}
	signal.Reset(os.Interrupt) // a second Ctrl-C ends us at once; a second TERM changes nothing
	echoes.drain()
	conns.drain(listeners, o.drainGrace, o.drainIdle)
	log.Print("drained")
	return nil
}

// announce says that we can serve, in the way that was asked for.
func (o options) announce(ready *readiness) error {
	switch {
	case o.silent:
		return nil
	case o.notify:
		return ready.notify("READY=1")
	}
	return ready.writeLine()
}
