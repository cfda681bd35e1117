package store

import (
	"bytes"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"winnow/io/store/s3test"
)

// TestSweepS3 aborts what a killed writer of a large object leaves: an upload
// with parts that never ends.
func TestSweepS3(t *testing.T) {
	s, err := Open(t.Context(), s3test.StartS3(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := s.b.(*bucketBackend)
	var client *s3.Client
	if !b.b.As(&client) {
		t.Fatal("there is no S3 client")
	}
	begin := func(key string) {
		t.Helper()
		up, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &b.bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		one := int32(1)
		_, err = client.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &b.bucket, Key: &key, UploadId: up.UploadId, PartNumber: &one, Body: bytes.NewReader([]byte("part")),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	begin("a/x")
	begin("a/y")
	begin("b/z")
	for _, c := range []struct {
		under string
		age   time.Duration
		want  int
	}{{"", 24 * time.Hour, 0}, {"a", -time.Hour, 2}, {"a", -time.Hour, 0}, {"", -time.Hour, 1}} {
		if n, err := s.Sub(c.under).Sweep(t.Context(), c.age); n != c.want || err != nil {
			t.Errorf("%q, older than %v: swept %d, %v; want %d", c.under, c.age, n, err, c.want)
		}
	}
	left, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &b.bucket})
	if err != nil || len(left.Uploads) != 0 {
		t.Errorf("left %+v, %v", left, err)
	}
}
