// -mavx2 -mfma
#include "lstm.h"
