package zetasketch

import "math/bits"

// rhoBits is how many bits of a sparse value hold rho, if it does.
const rhoBits = 6

// precision is a pair of precisions: registers are found by the first p bits of a
// hash, sparse values by the first sp. sp is 0 in a sketch that is never sparse.
//
// A sparse value is, in ascending order of what it may be,
//
//	index                     sp bits, whose lowest sp-p are not all 0: with them
//	                          the register's rho is known
//	flag | index>>(sp-p)<<6 | rho
//	                          otherwise; rho counts from bit sp of the hash
//
// where flag is 1<<max(sp, p+6), above all other bits.
type precision struct{ p, sp uint8 }

func (e precision) flag() uint32 { return 1 << max(e.sp, e.p+rhoBits) }

// rho returns the number of leading zeros of the lowest n bits of w, plus 1.
func rho(w uint64, n uint8) uint8 {
	return uint8(bits.LeadingZeros64(w<<(64-n)|1<<(63-n))) + 1
}

// register returns the register of a hash and its rho.
func (e precision) register(hash uint64) (uint32, uint8) {
	return uint32(hash >> (64 - e.p)), rho(hash, 64-e.p)
}

// sparse returns the sparse value of a hash.
func (e precision) sparse(hash uint64) uint32 {
	return e.value(uint32(hash>>(64-e.sp)), rho(hash, 64-e.sp))
}

func (e precision) value(index uint32, rho uint8) uint32 {
	extra := e.sp - e.p
	if index&(1<<extra-1) != 0 {
		return index
	}
	return e.flag() | index>>extra<<rhoBits | uint32(rho)
}

// decode returns the register of a sparse value and its rho.
func (e precision) decode(v uint32) (uint32, uint8) {
	extra := e.sp - e.p
	if flag := e.flag(); v&flag != 0 {
		return v &^ flag >> rhoBits, uint8(v&(1<<rhoBits-1)) + extra
	}
	return v >> extra, rho(uint64(v), extra)
}

// valid reports whether v is a sparse value of these precisions.
func (e precision) valid(v uint32) bool {
	extra := e.sp - e.p
	if flag := e.flag(); v&flag != 0 {
		rho := v & (1<<rhoBits - 1)
		return v&^flag>>rhoBits < 1<<e.p && rho >= 1 && rho <= 65-uint32(e.sp) && v < flag<<1
	}
	return v < 1<<e.sp && v&(1<<extra-1) != 0
}

// same reports whether two sparse values have the same index: then the larger
// one holds the other.
func (e precision) same(a, b uint32) bool {
	return a == b || a>>rhoBits == b>>rhoBits && a&e.flag() != 0
}

// downgradeRegister returns the register and rho at the lower precision p.
func downgradeRegister(from uint8, index uint32, r, p uint8) (uint32, uint8) {
	lost := from - p
	if r == 0 || lost == 0 {
		return index >> lost, r
	}
	if suffix := index & (1<<lost - 1); suffix != 0 {
		return index >> lost, rho(uint64(suffix), lost)
	}
	return index >> lost, r + lost
}

// downgradeSparse returns the value at the lower precisions to.
func (e precision) downgradeSparse(v uint32, to precision) uint32 {
	index, r := v, uint8(0)
	if flag := e.flag(); v&flag != 0 {
		index, r = v&^flag>>rhoBits<<(e.sp-e.p), uint8(v&(1<<rhoBits-1))
	}
	// A value without rho has a bit below p, and above the new sp unless rho
	// follows from the bits that are lost: either way value has what it needs.
	lost := e.sp - to.sp
	if suffix := index & (1<<lost - 1); suffix != 0 {
		r = rho(uint64(suffix), lost)
	} else {
		r += lost
	}
	return to.value(index>>lost, r)
}

// sizeOf returns how many bytes the sorted values take as varints of their
// differences, and how many of them hold a rho.
func (e precision) sizeOf(values []uint32) (size, withRho int) {
	flag := e.flag()
	last := uint32(0)
	for _, v := range values {
		size += (bits.Len32((v-last)|1) + 6) / 7
		last = v
		if v&flag != 0 {
			withRho++
		}
	}
	return size, withRho
}
