// -mavx2 -mfma
#include "wavenet.h"
