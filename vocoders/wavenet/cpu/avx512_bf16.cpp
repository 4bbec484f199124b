// -mavx512f -mavx512bw -mavx512vl -mavx512vnni -mavx512bf16: bytes and bfloat16 are multiplied and added by one
// instruction
#include "wavenet.h"
