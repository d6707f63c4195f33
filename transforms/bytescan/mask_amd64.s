//go:build !purego

#include "textflag.h"

// func maskAVX2(dst *uint64, data *byte, blocks int, nibbles *[3][16]byte)
//
// VEX forms only: legacy SSE instructions after these would cost a change of
// state.
TEXT ·maskAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ data+8(FP), SI
	MOVQ blocks+16(FP), CX
	MOVQ nibbles+24(FP), DX

	VBROADCASTI128 (DX), Y0   // by low nibble
	VBROADCASTI128 16(DX), Y1 // by high nibble
	VBROADCASTI128 32(DX), Y2 // 0x0F
	VPXOR          Y3, Y3, Y3

block:
	VMOVDQU   (SI), Y4
	VMOVDQU   32(SI), Y5
	VPAND     Y2, Y4, Y6
	VPAND     Y2, Y5, Y7
	VPSRLW    $4, Y4, Y4
	VPSRLW    $4, Y5, Y5
	VPAND     Y2, Y4, Y4
	VPAND     Y2, Y5, Y5
	VPSHUFB   Y6, Y0, Y6
	VPSHUFB   Y7, Y0, Y7
	VPSHUFB   Y4, Y1, Y4
	VPSHUFB   Y5, Y1, Y5
	VPAND     Y6, Y4, Y4
	VPAND     Y7, Y5, Y5
	VPCMPEQB  Y3, Y4, Y4 // 0xFF for bytes that are not in the set
	VPCMPEQB  Y3, Y5, Y5
	VPMOVMSKB Y4, AX
	VPMOVMSKB Y5, BX
	SHLQ      $32, BX
	ORQ       BX, AX
	NOTQ      AX
	MOVQ      AX, (DI)
	ADDQ      $64, SI
	ADDQ      $8, DI
	DECQ      CX
	JNZ       block

	VZEROUPPER
	RET
