/* libnvidia-ml.so.1 for benchmarks: FAKE_NVML_CARDS cards (8), every second one busy, nothing behind them.
 *
 * It exists so that tools are compared on what they themselves cost. Struct layouts are those of NVML's API 13, as
 * nvidia-ml-py declares them. What is not modelled is exported and answers NOT_SUPPORTED: some tools stop at a missing
 * symbol. Build: cc -O2 -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10, VERSION_MISMATCH = 25 };

typedef uint64_t device; /* index + 1 */
typedef struct { uint64_t total, free, used; } memory_v1;
typedef struct { uint32_t version; uint64_t total, reserved, free, used; } memory_v2;
typedef struct { uint32_t gpu, memory; } utilisation;
typedef struct { uint32_t pid; uint64_t used; uint32_t gi, ci; } process;
typedef struct { uint32_t pid; uint64_t stamp; uint32_t sm, mem, enc, dec; } process_use;
typedef struct { char legacy[16]; uint32_t domain, bus, dev, id, subsystem; char id_text[32]; } pci_info;
typedef struct { uint32_t field, scope; int64_t stamp, latency; uint32_t type, status; uint64_t value; } field_value;
typedef struct { uint32_t version, sensor; int32_t degrees; } temperature_v1;

static int cards(void) {
    const char *given = getenv("FAKE_NVML_CARDS");
    return given ? atoi(given) : 8;
}
static int busy(device d) { return (int)(d % 2); }
static int text(char *out, unsigned room, const char *value) {
    snprintf(out, room, "%s", value);
    return SUCCESS;
}
static int number(unsigned *out, unsigned value) {
    *out = value;
    return SUCCESS;
}

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == SUCCESS ? "Success" : "Not Supported"; }
int nvmlSystemGetDriverVersion(char *out, unsigned room) { return text(out, room, "580.82.07"); }
int nvmlSystemGetNVMLVersion(char *out, unsigned room) { return text(out, room, "13.580.82.07"); }
int nvmlSystemGetCudaDriverVersion(int *out) { *out = 13000; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = 13000; return SUCCESS; }
int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned room) { (void)pid; return text(out, room, "python"); }

int nvmlDeviceGetCount_v2(unsigned *out) { return number(out, (unsigned)cards()); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *out) {
    *out = index + 1;
    return index < (unsigned)cards() ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetUUID(device d, char *out, unsigned room) {
    snprintf(out, room, "GPU-%08x-1111-4222-8333-%012x", (unsigned)d, (unsigned)d);
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, device *out) {
    *out = strtoul(uuid + 4, NULL, 16);
    return *out >= 1 && *out <= (device)cards() ? SUCCESS : NOT_FOUND;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, device *out) {
    *out = strtoul(bus + 9, NULL, 16);
    return *out >= 1 && *out <= (device)cards() ? SUCCESS : NOT_FOUND;
}
int nvmlDeviceGetIndex(device d, unsigned *out) { return number(out, (unsigned)d - 1); }
int nvmlDeviceGetMinorNumber(device d, unsigned *out) { return number(out, (unsigned)d - 1); }
int nvmlDeviceGetName(device d, char *out, unsigned room) { (void)d; return text(out, room, "NVIDIA A100-SXM4-80GB"); }
int nvmlDeviceGetSerial(device d, char *out, unsigned room) { (void)d; return text(out, room, "1320221000001"); }
int nvmlDeviceGetBoardPartNumber(device d, char *out, unsigned room) { (void)d; return text(out, room, "692-2G506"); }
int nvmlDeviceGetVbiosVersion(device d, char *out, unsigned room) { (void)d; return text(out, room, "92.00.45.00.03"); }
int nvmlDeviceGetCudaComputeCapability(device d, int *major, int *minor) { (void)d; *major = 8; *minor = 0; return SUCCESS; }
int nvmlDeviceGetPciInfo_v3(device d, pci_info *out) {
    memset(out, 0, sizeof *out);
    out->bus = (uint32_t)d;
    out->id = 0x20b210deu;
    out->subsystem = 0x146310deu;
    snprintf(out->legacy, sizeof out->legacy, "0000:%02X:00.0", (unsigned)d);
    snprintf(out->id_text, sizeof out->id_text, "00000000:%02X:00.0", (unsigned)d);
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(device d, memory_v1 *out) {
    out->total = 81920ull << 20;
    out->used = (busy(d) ? 20480ull : 2ull) << 20;
    out->free = out->total - out->used;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(device d, memory_v2 *out) {
    if (out->version != (uint32_t)(sizeof *out | 2u << 24)) return VERSION_MISMATCH;
    out->total = 81920ull << 20;
    out->reserved = 600ull << 20;
    out->used = (busy(d) ? 20480ull : 2ull) << 20;
    out->free = out->total - out->reserved - out->used;
    return SUCCESS;
}
int nvmlDeviceGetBAR1MemoryInfo(device d, memory_v1 *out) { return nvmlDeviceGetMemoryInfo(d, out); }
int nvmlDeviceGetUtilizationRates(device d, utilisation *out) {
    out->gpu = busy(d) ? 73 : 0;
    out->memory = busy(d) ? 31 : 0;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(device d, int sensor, unsigned *out) { (void)sensor; return number(out, busy(d) ? 61 : 34); }
int nvmlDeviceGetTemperatureV(device d, temperature_v1 *out) {
    if (out->version != (uint32_t)(sizeof *out | 1u << 24)) return VERSION_MISMATCH;
    out->degrees = busy(d) ? 61 : 34;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(device d, unsigned *out) { return number(out, busy(d) ? 284000 : 52000); }
int nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *out) { (void)d; return number(out, 400000); }
int nvmlDeviceGetPowerManagementLimit(device d, unsigned *out) { (void)d; return number(out, 400000); }
int nvmlDeviceGetPowerManagementDefaultLimit(device d, unsigned *out) { (void)d; return number(out, 400000); }
int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *out) { *out = 1000000ull * d; return SUCCESS; }
int nvmlDeviceGetClockInfo(device d, int kind, unsigned *out) { (void)kind; return number(out, busy(d) ? 1410 : 210); }
int nvmlDeviceGetMaxClockInfo(device d, int kind, unsigned *out) { (void)d; (void)kind; return number(out, 1410); }
int nvmlDeviceGetPerformanceState(device d, int *out) { *out = busy(d) ? 0 : 8; return SUCCESS; }
int nvmlDeviceGetPersistenceMode(device d, int *out) { (void)d; *out = 1; return SUCCESS; }
int nvmlDeviceGetComputeMode(device d, int *out) { (void)d; *out = 0; return SUCCESS; }
int nvmlDeviceGetDisplayMode(device d, int *out) { (void)d; *out = 0; return SUCCESS; }
int nvmlDeviceGetDisplayActive(device d, int *out) { (void)d; *out = 0; return SUCCESS; }
int nvmlDeviceGetMigMode(device d, unsigned *now, unsigned *next) { (void)d; *now = *next = 0; return SUCCESS; }
int nvmlDeviceGetEccMode(device d, int *now, int *next) { (void)d; *now = *next = 1; return SUCCESS; }
int nvmlDeviceGetTotalEccErrors(device d, int kind, int counter, unsigned long long *out) {
    (void)d; (void)kind; (void)counter;
    *out = 0;
    return SUCCESS;
}
int nvmlDeviceGetRemappedRows(device d, unsigned *a, unsigned *b, unsigned *pending, unsigned *failed) {
    (void)d;
    *a = *b = *pending = *failed = 0;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksEventReasons(device d, unsigned long long *out) { *out = busy(d) ? 0 : 1; return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkGeneration(device d, unsigned *out) { (void)d; return number(out, 4); }
int nvmlDeviceGetMaxPcieLinkWidth(device d, unsigned *out) { (void)d; return number(out, 16); }
int nvmlDeviceGetCurrPcieLinkGeneration(device d, unsigned *out) { (void)d; return number(out, 4); }
int nvmlDeviceGetCurrPcieLinkWidth(device d, unsigned *out) { (void)d; return number(out, 16); }
int nvmlDeviceGetEncoderUtilization(device d, unsigned *out, unsigned *period) { (void)d; *period = 167000; return number(out, 0); }
int nvmlDeviceGetDecoderUtilization(device d, unsigned *out, unsigned *period) { (void)d; *period = 167000; return number(out, 0); }
int nvmlDeviceGetFieldValues(device d, int count, field_value *values) {
    (void)d;
    for (int n = 0; n < count; n++) {
        values[n].status = SUCCESS;
        values[n].type = 1;
        values[n].value = 0;
    }
    return SUCCESS;
}

static int processes(device d, unsigned *count, process *out) {
    unsigned given = *count;
    *count = busy(d) ? 1 : 0;
    if (given < *count) return INSUFFICIENT_SIZE;
    if (*count) out[0] = (process){.pid = 1, .used = 20000ull << 20, .gi = ~0u, .ci = ~0u};
    return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count, process *out) { return processes(d, count, out); }
int nvmlDeviceGetComputeRunningProcesses_v2(device d, unsigned *count, process *out) { return processes(d, count, out); }
static int no_processes(device d, unsigned *count, process *out) { (void)d; (void)out; *count = 0; return SUCCESS; }
int nvmlDeviceGetGraphicsRunningProcesses_v3(device d, unsigned *count, process *out) { return no_processes(d, count, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v2(device d, unsigned *count, process *out) { return no_processes(d, count, out); }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(device d, unsigned *count, process *out) { return no_processes(d, count, out); }
int nvmlDeviceGetProcessUtilization(device d, process_use *out, unsigned *count, unsigned long long since) {
    (void)since;
    unsigned given = *count;
    *count = busy(d) ? 1 : 0;
    if (given < *count) return INSUFFICIENT_SIZE;
    if (*count) out[0] = (process_use){.pid = 1, .stamp = 1, .sm = 70, .mem = 30};
    return SUCCESS;
}

int nvmlDeviceGetSupportedEventTypes(device d, unsigned long long *out) { (void)d; *out = 8; return SUCCESS; }
int nvmlEventSetCreate(uint64_t *out) { *out = 1; return SUCCESS; }
int nvmlEventSetFree(uint64_t set) { (void)set; return SUCCESS; }
int nvmlDeviceRegisterEvents(device d, unsigned long long types, uint64_t set) { (void)d; (void)types; (void)set; return SUCCESS; }
int nvmlEventSetWait_v2(uint64_t set, void *out, unsigned ms) {
    (void)set; (void)out;
    struct timespec_ { long s, ns; } wait = {ms / 1000, (long)(ms % 1000) * 1000000};
    extern int nanosleep(const void *, void *);
    if (ms) nanosleep(&wait, NULL);
    return TIMEOUT;
}

#define ABSENT(name) int name(void) { return NOT_SUPPORTED; }
ABSENT(nvmlDeviceGetFanSpeed)
ABSENT(nvmlDeviceGetFanSpeed_v2)
ABSENT(nvmlDeviceGetNumFans)
ABSENT(nvmlDeviceGetDriverModel)
ABSENT(nvmlDeviceGetDriverModel_v2)
ABSENT(nvmlDeviceGetConfComputeMemSizeInfo)
ABSENT(nvmlDeviceGetMaxMigDeviceCount)
ABSENT(nvmlDeviceGetMigDeviceHandleByIndex)
ABSENT(nvmlDeviceIsMigDeviceHandle)
ABSENT(nvmlDeviceGetPcieThroughput)
ABSENT(nvmlDeviceGetNvLinkState)
ABSENT(nvmlDeviceGetInforomImageVersion)
ABSENT(nvmlDeviceGetAccountingMode)
ABSENT(nvmlDeviceGetTemperatureThreshold)
ABSENT(nvmlDeviceGetHandleBySerial)
ABSENT(nvmlDeviceGetMemoryErrorCounter)
ABSENT(nvmlDeviceGetRunningProcessDetailList)
ABSENT(nvmlSystemGetConfComputeState)
