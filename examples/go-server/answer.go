package main

import "net/http"

// An answer decides about "Connection: close" when the header is sent, not
// when the request came: a drain may have begun in between.
type answer struct {
	http.ResponseWriter
	conns *connections
	code  int
}

func (a *answer) WriteHeader(code int) {
	if a.code == 0 && code >= 200 { // 1xx comes before the answer
		a.code = code
		if a.conns.leaving.Load() {
			a.Header().Set("Connection", "close")
		}
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.code == 0 {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach Flush, Hijack and the deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
