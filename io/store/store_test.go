package store_test

import (
	"os"
	"testing"

	"winnow/io/store"
	"winnow/io/store/s3test"
	"winnow/io/store/storetest"
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

func TestMemory(t *testing.T) { storetest.Run(t, open(t, "mem://conformance/some/prefix")) }

func TestDirectory(t *testing.T) { storetest.Run(t, open(t, t.TempDir()+"/not/yet")) }

func TestS3(t *testing.T) { storetest.Run(t, open(t, s3test.StartS3(t))) }

// TestCloud runs the suite on a store of your choice, an emulator of gs or
// azblob for one: WINNOW_TEST_STORE='azblob://buck?protocol=http&domain=127.0.0.1:10000&localemu=true'.
func TestCloud(t *testing.T) {
	url := os.Getenv("WINNOW_TEST_STORE")
	if url == "" {
		t.Skip("WINNOW_TEST_STORE names no store")
	}
	storetest.Run(t, open(t, url))
}
