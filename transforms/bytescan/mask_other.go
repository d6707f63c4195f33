//go:build !amd64 || purego

package bytescan

var useMask = false

func makeMask([]uint64, *Set, []byte) { panic("bytescan: there is no mask here") }
