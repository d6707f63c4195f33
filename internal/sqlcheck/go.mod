module pixelbeam/internal/sqlcheck

go 1.26.0

replace pixelbeam => ../..

require (
	github.com/goccy/go-googlesql v0.4.0
	github.com/google/go-cmp v0.7.0
	pixelbeam v0.0.0-00010101000000-000000000000
)

require (
	github.com/goccy/googlesqlwasm2go v0.2.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
