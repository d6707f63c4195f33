package schemas

//go:generate go run ./internal/protogen . . pixelbeam/v1/impression.proto pixelbeam/v1/rejected.proto pixelbeam/v1/counts.proto pixelbeam/v1/ledger.proto pixelbeam/v1/profile.proto
