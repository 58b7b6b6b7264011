package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestPassedFDs(t *testing.T) {
	own, other := strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getpid()+1)
	for _, c := range []struct {
		count, pid, names, single string
		want                      string
	}{
		{want: "[]"},
		{count: "2", pid: own, names: "http:admin", single: "3", want: "[{3 http} {4 admin}]"},
		{count: "2", names: "http", want: "[{3 http} {4 LISTEN_FD_4}]"},
		{count: "1", pid: other, want: "[]"},
		{count: "1", pid: other, single: "7", want: "[{7 LISTEN_FD}]"},
		{single: "5", want: "[{5 LISTEN_FD}]"},
		{count: "many", want: "[]error"},
		{single: "-1", want: "[]error"},
	} {
		t.Setenv("LISTEN_FDS", c.count)
		t.Setenv("LISTEN_PID", c.pid)
		t.Setenv("LISTEN_FDNAMES", c.names)
		t.Setenv("LISTEN_FD", c.single)
		passed, err := passedFDs()
		got := fmt.Sprint(passed)
		if err != nil {
			got += "error"
		}
		if got != c.want {
			t.Errorf("%+v gave %s", c, got)
		}
		for _, key := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_FD"} {
			if _, set := os.LookupEnv(key); set {
				t.Errorf("%s is still set", key)
			}
		}
	}
}
