package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/tidb/pkg/ddl"
	"github.com/pingcap/tidb/pkg/domain"
	"github.com/pingcap/tidb/pkg/domain/infosync"
	infoschema "github.com/pingcap/tidb/pkg/infoschema/context"
	"github.com/pingcap/tidb/pkg/store/mockstore"
	"github.com/pingcap/tidb/pkg/store/mockstore/unistore"
	"github.com/tikv/client-go/v2/testutils"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/tikvrpc"
	pd "github.com/tikv/pd/client"
)

// tiFlash stands in for the TiFlash nodes of a cluster: TiDB's own mock of them, and
// answers about vector indexes, which the mock does not know. Their searches are exact
// scans behind the plan of an index.
type tiFlash struct {
	nodes  int
	mock   *infosync.MockTiFlash
	domain *domain.Domain
	index  atomic.Value
}

func newTiFlash(nodes int) *tiFlash {
	flash := &tiFlash{nodes: nodes, mock: infosync.NewMockTiFlash()}
	flash.index.Store("ready")
	ddl.PollTiFlashInterval = 200 * time.Millisecond
	return flash
}

func (flash *tiFlash) options() []mockstore.MockTiKVStoreOption {
	if flash.nodes == 0 {
		return nil
	}
	return []mockstore.MockTiKVStoreOption{
		mockstore.WithClusterInspector(flash.addNodes),
		mockstore.WithPDClientHijacker(func(client pd.Client) pd.Client {
			return &placement{client, flash.mock.StatusAddr}
		}),
		mockstore.WithClientHijacker(func(client tikv.Client) tikv.Client {
			return &storage{client, flash}
		}),
	}
}

func (flash *tiFlash) addNodes(c testutils.Cluster) {
	cluster := c.(*unistore.Cluster)
	_, _, region := mockstore.BootstrapWithSingleStore(cluster)
	for node := range flash.nodes {
		id, name := cluster.AllocID(), fmt.Sprintf("tiflash%d", node)
		cluster.AddStore(id, name, &metapb.StoreLabel{Key: "engine", Value: "tiflash"})
		cluster.AddPeer(region, id, cluster.AllocID())
		flash.mock.AddStore(id, name)
	}
}

// attach hands the nodes to the server once there is one.
func (flash *tiFlash) attach(dom *domain.Domain) {
	if flash.nodes > 0 {
		flash.domain = dom
		infosync.SetMockTiFlash(flash.mock)
	}
}

func (flash *tiFlash) setIndex(state string) error {
	switch state {
	case "ready", "building", "failing":
		flash.index.Store(state)
		return nil
	}
	return fmt.Errorf("no such state of an index: %s", state)
}

func (flash *tiFlash) setReplica(state string) error {
	if state != "ready" && state != "building" {
		return fmt.Errorf("no such state of a replica: %s", state)
	}
	flash.mock.Lock()
	defer flash.mock.Unlock()
	flash.mock.NotAvailable = state == "building"
	return nil
}

// placement is the placement driver, which else leaves out where a node tells its status.
type placement struct {
	pd.Client
	status string
}

func (client *placement) GetAllStores(
	ctx context.Context, options ...pd.GetStoreOption,
) ([]*metapb.Store, error) {
	stores, err := client.Client.GetAllStores(ctx, options...)
	for _, store := range stores {
		store.StatusAddress = client.status
	}
	return stores, err
}

// storage is the way to the nodes, which else do not know of vector indexes.
type storage struct {
	tikv.Client
	flash *tiFlash
}

func (client *storage) SendRequest(
	ctx context.Context, address string, request *tikvrpc.Request, timeout time.Duration,
) (*tikvrpc.Response, error) {
	switch request.Type {
	case tikvrpc.CmdGetTiFlashSystemTable:
		table, err := json.Marshal(client.flash.indexes())
		return &tikvrpc.Response{Resp: &kvrpcpb.TiFlashSystemTableResponse{Data: table}}, err
	case tikvrpc.CmdMPPConn:
		// The mock looks for the task it was just given, and if that has not begun yet,
		// again a whole second later.
		time.Sleep(5 * time.Millisecond)
	}
	return client.Client.SendRequest(ctx, address, request, timeout)
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type table struct {
	Meta []column   `json:"meta"`
	Data [][]string `json:"data"`
}

// indexes is one node's part of INFORMATION_SCHEMA.TIFLASH_INDEXES. The numbers of rows
// are made up.
func (flash *tiFlash) indexes() table {
	var result table
	for _, name := range []string{
		"tidb_database", "tidb_table", "table_id", "column_id", "index_id", "index_kind",
		"rows_stable_indexed", "rows_stable_not_indexed",
		"rows_delta_indexed", "rows_delta_not_indexed", "error_message",
	} {
		result.Meta = append(result.Meta, column{name, "String"})
	}
	progress := map[any][]string{
		"ready":    {"1000", "0", "0", "0", ""},
		"building": {"250", "750", "0", "0", ""},
		"failing":  {"250", "750", "0", "0", "the stand-in was told to fail"},
	}[flash.index.Load()]
	filter := infoschema.TiFlashAttribute
	for _, database := range flash.domain.InfoSchema().ListTablesWithSpecialAttribute(filter) {
		for _, info := range database.TableInfos {
			for _, index := range info.Indices {
				if index.VectorInfo == nil {
					continue
				}
				column := info.Columns[index.Columns[0].Offset]
				row := []string{
					database.DBName.O, info.Name.O, number(info.ID), number(column.ID),
					number(index.ID), "HNSW",
				}
				result.Data = append(result.Data, append(row, progress...))
			}
		}
	}
	return result
}

func number(value int64) string { return strconv.FormatInt(value, 10) }
