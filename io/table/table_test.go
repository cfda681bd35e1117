package table_test

import (
	"os"
	"testing"

	"winnow/io/store"
	"winnow/io/store/s3test"
	"winnow/io/table/tabletest"
)

func open(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestMemory(t *testing.T) { tabletest.Run(t, open(t, "mem://")) }

func TestDirectory(t *testing.T) { tabletest.Run(t, open(t, t.TempDir())) }

func TestS3(t *testing.T) { tabletest.Run(t, open(t, s3test.StartS3(t))) }

func TestCloud(t *testing.T) {
	url := os.Getenv("WINNOW_TEST_STORE")
	if url == "" {
		t.Skip("WINNOW_TEST_STORE names no store")
	}
	tabletest.Run(t, open(t, url))
}
