// -mavx512f -mavx512bw -mavx512vl
#include "lstm.h"
