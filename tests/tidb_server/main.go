// A real TiDB in one process, for the tests: TiDB's own server over an in-process storage.
//
//	tidb-server --scratch DIR [--port N] [--tiflash N] [--data DIR]
//	            [--cert FILE --key FILE [--ca FILE]]
//	tidb-server certificates DIR
//
// Once it takes connections it prints "ready HOST:PORT", and it ends when its standard
// input does, so that it never outlives whoever started it. Until then every line there
// is an order, answered with "ok"; an order that makes no sense ends it too:
//
//	index ready|building|failing    how the vector indexes of the stand-in TiFlash are doing
//	replica ready|building          how its copies of tables are doing
//	version [TEXT]                  what the server calls itself; without TEXT, what it is
package main

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pingcap/tidb/pkg/config"
	"github.com/pingcap/tidb/pkg/domain"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	"github.com/pingcap/tidb/pkg/server"
	"github.com/pingcap/tidb/pkg/session"
	"github.com/pingcap/tidb/pkg/sessionctx/variable"
	"github.com/pingcap/tidb/pkg/store/mockstore"
	"github.com/pingcap/tidb/pkg/util/logutil"
)

const host = "127.0.0.1"

var (
	port    = flag.Uint("port", 0, "port to listen on, 0 for a free one")
	data    = flag.String("data", "", "folder that keeps the data; without it they are gone with the server")
	nodes   = flag.Int("tiflash", 0, "number of stand-in TiFlash nodes, not together with --data")
	cert    = flag.String("cert", "", "certificate of the server, PEM")
	key     = flag.String("key", "", "its private key, PEM")
	ca      = flag.String("ca", "", "authority of the clients' certificates, PEM")
	scratch = flag.String("scratch", "", "folder for all else that it writes, removed at its end")
	version = mysql.ServerVersion
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "certificates" {
		must(writeCertificates(os.Args[2]))
		return
	}
	flag.Parse()
	if *scratch == "" || *nodes > 0 && *data != "" {
		flag.Usage()
		os.Exit(2)
	}
	enterScratch()
	cfg := configure()
	flash := newTiFlash(*nodes)
	dom, storage := open(flash)
	flash.attach(dom)
	address := serve(cfg, dom, storage)
	fmt.Println("ready", address)
	obey(flash)
	leave(0)
}

// enterScratch keeps whatever TiDB writes beside its data in one folder.
func enterScratch() {
	for _, path := range []*string{scratch, data, cert, key, ca} {
		if *path != "" {
			*path = must1(filepath.Abs(*path))
		}
	}
	must(os.MkdirAll(*scratch, 0o700))
	must(os.Chdir(*scratch))
	must(os.Setenv("TMPDIR", *scratch))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() { <-signals; leave(1) }()
}

func configure() *config.Config {
	cfg := config.NewConfig()
	cfg.Host, cfg.AdvertiseAddress, cfg.Status.StatusHost = host, host, host
	cfg.Port, cfg.Socket = *port, ""
	// TIFLASH_REPLICA is read through the status server, whose port the server
	// announces to itself before it listens there.
	cfg.Status.ReportStatus, cfg.Status.StatusPort = true, freePort()
	cfg.Security.SSLCert, cfg.Security.SSLKey, cfg.Security.SSLCA = *cert, *key, *ca
	cfg.TempDir, cfg.TempStoragePath = *scratch, filepath.Join(*scratch, "spill")
	cfg.Log.Level, cfg.Log.File.Filename = "error", filepath.Join(*scratch, "tidb.log")
	config.StoreGlobalConfig(cfg)
	must(logutil.InitLogger(cfg.Log.ToLogConfig()))
	return cfg
}

func open(flash *tiFlash) (*domain.Domain, kv.Storage) {
	// It would let garbage grow to five times of what lives, on a machine with other work.
	variable.SetSysVar(variable.TiDBEnableGOGCTuner, variable.Off)
	session.SetSchemaLease(500 * time.Millisecond)
	storage := must1(mockstore.NewMockStore(append(
		flash.options(),
		mockstore.WithStoreType(mockstore.EmbedUnistore),
		mockstore.WithPath(*data),
	)...))
	return must1(session.BootstrapSession(storage)), storage
}

// serve returns the address once the server listens there.
func serve(cfg *config.Config, dom *domain.Domain, storage kv.Storage) net.Addr {
	server.RunInGoTest = true
	server.RunInGoTestChan = make(chan struct{})
	tidb := must1(server.NewServer(cfg, server.NewTiDBDriver(storage)))
	tidb.SetDomain(dom)
	dom.InfoSyncer().SetSessionManager(tidb)
	go dom.ExpensiveQueryHandle().SetSessionManager(tidb).Run()
	go func() {
		must(tidb.Run(dom))
		leave(1)
	}()
	<-server.RunInGoTestChan
	return tidb.ListenAddr()
}

// obey follows the orders on standard input until it ends.
func obey(flash *tiFlash) {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		order, argument, _ := strings.Cut(orders.Text(), " ")
		must(follow(flash, order, argument))
		fmt.Println("ok")
	}
}

func follow(flash *tiFlash, order, argument string) error {
	switch order {
	case "index":
		return flash.setIndex(argument)
	case "replica":
		return flash.setReplica(argument)
	case "version":
		mysql.ServerVersion = cmp.Or(argument, version)
		return nil
	}
	return fmt.Errorf("no such order: %s", order)
}

func freePort() uint {
	listener := must1(net.Listen("tcp", host+":0"))
	defer listener.Close()
	return uint(listener.Addr().(*net.TCPAddr).Port)
}

// leave ends the process as a crash would: what was committed is in the storage already.
func leave(code int) {
	_ = os.RemoveAll(*scratch)
	os.Exit(code)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidb-server:", err)
		leave(1)
	}
}

func must1[T any](value T, err error) T {
	must(err)
	return value
}
