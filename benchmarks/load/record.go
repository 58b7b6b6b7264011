package main

import (
	"encoding/csv"
	"errors"
	"os"
	"strconv"
)

// record writes one CSV line per request. Without a file it does nothing.
type record struct {
	file *os.File
	csv  *csv.Writer
}

func openRecord(path string) (*record, error) {
	if path == "" {
		return &record{}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	r := &record{file, csv.NewWriter(file)}
	r.csv.Write([]string{"due", "latency_us", "mode", "version", "pid", "port", "kind"})
	return r, nil
}

func (r *record) add(o *outcome) {
	if r.csv == nil {
		return
	}
	r.csv.Write([]string{
		stamp{o.due}.String(),
		strconv.FormatInt(o.took.Microseconds(), 10),
		string(o.mode),
		o.version,
		o.pid,
		strconv.Itoa(o.port),
		string(o.kind()),
	})
}

// close says whether every line was written.
func (r *record) close() error {
	if r.csv == nil {
		return nil
	}
	r.csv.Flush()
	return errors.Join(r.csv.Error(), r.file.Close())
}
