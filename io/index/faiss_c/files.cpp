// Reading and writing indexes.
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include <faiss/invlists/OnDiskInvertedLists.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "internal.h"

using namespace gofaiss;

namespace {

// FAISS's own buffer reader copies the buffer first; this one reads it in place.
struct Buffer : faiss::IOReader {
    const unsigned char* next;
    size_t left;

    Buffer(const unsigned char* buf, size_t n) : next(buf), left(n) { name = "buffer"; }

    size_t operator()(void* to, size_t size, size_t n) override {
        size_t items = size ? std::min(n, left / size) : 0;
        memcpy(to, next, items * size);
        next += items * size;
        left -= items * size;
        return items;
    }
};

// A buffer cannot be mapped, whatever the flags say.
int unmapped(int flags) { return flags & ~int(faiss::IO_FLAG_MMAP); }

// Hands the written bytes to the caller as malloc'ed memory.
int give(const faiss::VectorIOWriter& w, size_t* size, unsigned char** buf) {
    *size = w.data.size();
    *buf = static_cast<unsigned char*>(malloc(std::max<size_t>(*size, 1)));
    if (!*buf) return fail(-4, "out of memory");
    memcpy(*buf, w.data.data(), *size);
    return 0;
}

// FAISS would start up to 32 threads before every search of mapped lists, to touch their pages. The kernel reads ahead
// by itself, and a process that limits its threads must be able to.
void no_prefetch(faiss::Index* index) {
    auto ivf = find_ivf(index);
    if (!ivf) return;
    if (auto lists = dynamic_cast<faiss::OnDiskInvertedLists*>(ivf->invlists)) lists->prefetch_nthread = 0;
}

} // namespace

extern "C" {

int faiss_write_index_fname(const FaissIndex* index, const char* path) {
    return guard([&] { faiss::write_index(cpp(index), path); });
}

int faiss_read_index_fname(const char* path, int flags, FaissIndex** out) {
    return guard([&] {
        auto index = faiss::read_index(path, flags);
        no_prefetch(index);
        *out = handle(index);
    });
}

int faiss_write_index_buf(const FaissIndex* index, size_t* size, unsigned char** buf) {
    faiss::VectorIOWriter w;
    int code = guard([&] { faiss::write_index(cpp(index), &w); });
    return code ? code : give(w, size, buf);
}

int faiss_read_index_buf(const unsigned char* buf, size_t size, int flags, FaissIndex** out) {
    Buffer reader(buf, size);
    return guard([&] { *out = handle(faiss::read_index(&reader, unmapped(flags))); });
}

int faiss_write_index_binary_buf(const FaissIndexBinary* index, size_t* size, unsigned char** buf) {
    faiss::VectorIOWriter w;
    int code = guard([&] { faiss::write_index_binary(cpp(index), &w); });
    return code ? code : give(w, size, buf);
}

int faiss_read_index_binary_buf(const unsigned char* buf, size_t size, int flags, FaissIndexBinary** out) {
    Buffer reader(buf, size);
    return guard([&] { *out = handle(faiss::read_index_binary(&reader, unmapped(flags))); });
}

void faiss_free_buf(unsigned char** buf) {
    if (!buf) return;
    free(*buf);
    *buf = nullptr;
}

} // extern "C"
