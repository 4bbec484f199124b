// -mavx2 -mfma
#include "student.h"
