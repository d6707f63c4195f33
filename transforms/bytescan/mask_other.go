//go:build !amd64 || purego

package bytescan

var useAVX2 = false

func makeMask(dst []uint64, set *Set, data []byte) { maskGo(dst, set, data) }
