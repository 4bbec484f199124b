// -mavx512f -mavx512bw -mavx512vl -mavx512vnni -mavx512bf16: bytes are multiplied and added by one instruction
#include "lstm.h"
