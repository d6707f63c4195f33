package main

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pixelbeam/cmd/internal/cli"
	"pixelbeam/local/traffic"
)

// asProgram makes this test binary be pixellocal: a process that can be killed.
const asProgram = "PIXELLOCAL_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		cli.Main(command())
		return
	}
	os.Exit(m.Run())
}

func start(t *testing.T, out *output, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append(args, localPorts...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// publisher publishes generated entries by Google's client and remembers what
// the server acknowledged.
type publisher struct {
	mu           sync.Mutex
	acknowledged int64
}

func (p *publisher) run(ctx context.Context, addr string, g *traffic.Generator) error {
	client, err := pubsub.NewTopicAdminClient(ctx, option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		req := &pubsubpb.PublishRequest{Topic: topicName}
		for range 200 {
			var e traffic.Entry
			g.Next(&e)
			req.Messages = append(req.Messages, &pubsubpb.PubsubMessage{Data: e.Data, Attributes: map[string]string{timestampAttribute: e.Timestamp}})
		}
		// No retry: what was not acknowledged is not counted, and may be there.
		if _, err := client.Publish(ctx, req); err != nil {
			return nil
		}
		p.mu.Lock()
		p.acknowledged += int64(len(req.Messages))
		p.mu.Unlock()
	}
	return nil
}

func (p *publisher) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acknowledged
}

// Killed under load and started again on the same folder, pixellocal has every
// entry that its Pub/Sub acknowledged: what was read is in the tables, what was
// not is delivered again.
func TestKillLosesNothing(t *testing.T) {
	dir := t.TempDir()
	var out output
	first := start(t, &out, "--data="+dir)
	var at cli.Endpoints
	eventually(t, func() bool {
		var err error
		at, err = cli.ReadEndpoints(dir)
		return err == nil
	}, &out)

	// Impressions only, each of its own id, so that rows can be counted.
	g := traffic.New(traffic.Options{Seed: 3, Live: true})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var p publisher
	published := make(chan error, 1)
	go func() { published <- p.run(ctx, at.PubSub, g) }()
	eventually(t, func() bool { return p.count() > 8000 }, &out)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if err := <-published; err != nil {
		t.Fatal(err)
	}

	second := start(t, &out, "--data="+dir, "--until-idle")
	done := make(chan error, 1)
	go func() { done <- second.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("not idle in 2 minutes\n%s", out.String())
	}
	query := tables(t, dir)
	got := count(t, query("SELECT COUNT(*) AS n FROM `pixelbeam.impressions_unique`"))
	// One batch may have arrived without its acknowledgement.
	if low, high := p.count(), p.count()+200; got < low || got > high {
		t.Errorf("%d distinct rows, want %d to %d\n%s", got, low, high, out.String())
	}
	if all := count(t, query("SELECT COUNT(*) AS n FROM `pixelbeam.impressions`")); all < got {
		t.Errorf("%d rows, fewer than distinct ones", all)
	}

}
