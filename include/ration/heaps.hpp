// Heaps in C++: a polymorphic memory resource, an allocator for containers, owners, and scopes.
// C++17.
//
// Everything here is a thin layer over heap.h: what is said there about threads, failure and misuse
// holds. Functions that throw std::bad_alloc say so.
#ifndef RATION_HEAPS_HPP
#define RATION_HEAPS_HPP

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <new>
#include <utility>

#include <ration.h>

namespace ration
{

// A heap as a std::pmr::memory_resource. Does not own the heap. Two are equal if they stand for the
// same heap.
class memory_resource final : public std::pmr::memory_resource
{
  public:
    explicit memory_resource(ration_heap &heap) noexcept : heap_(&heap) {}

    ration_heap &heap() const noexcept { return *heap_; }

  private:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override
    {
        void *block = ration_heap_alloc_aligned(heap_, alignment, bytes);
        if (block == nullptr)
            throw std::bad_alloc();
        return block;
    }

    void do_deallocate(void *block, std::size_t, std::size_t) override
    {
        ration_heap_free(heap_, block);
    }

    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
        const auto *same = dynamic_cast<const memory_resource *>(&other);
        return same != nullptr && same->heap_ == heap_;
    }

    ration_heap *heap_;
};

// An allocator for containers. Does not own the heap. allocate() throws std::bad_alloc.
template <class T> class allocator
{
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;
    using is_always_equal = std::false_type;

    explicit allocator(ration_heap &heap) noexcept : heap_(&heap) {}
    template <class U> allocator(const allocator<U> &other) noexcept : heap_(&other.heap()) {}

    T *allocate(std::size_t n)
    {
        if (n > static_cast<std::size_t>(-1) / sizeof(T))
            throw std::bad_array_new_length();
        void *block = ration_heap_alloc_aligned(heap_, alignof(T), n * sizeof(T));
        if (block == nullptr)
            throw std::bad_alloc();
        return static_cast<T *>(block);
    }

    void deallocate(T *block, std::size_t) noexcept { ration_heap_free(heap_, block); }

    ration_heap &heap() const noexcept { return *heap_; }

  private:
    ration_heap *heap_;
};

template <class T, class U> bool operator==(const allocator<T> &a, const allocator<U> &b) noexcept
{
    return &a.heap() == &b.heap();
}

template <class T, class U> bool operator!=(const allocator<T> &a, const allocator<U> &b) noexcept
{
    return !(a == b);
}

// Ends an object and gives its memory back to the heap that it came from.
template <class T> class deleter
{
  public:
    explicit deleter(ration_heap &heap) noexcept : heap_(&heap) {}

    void operator()(T *object) const noexcept
    {
        object->~T();
        ration_heap_free(heap_, object);
    }

  private:
    ration_heap *heap_;
};

template <class T> using unique_ptr = std::unique_ptr<T, deleter<T>>;

// Makes an object in a heap. Throws std::bad_alloc, or what the constructor throws.
template <class T, class... Args> unique_ptr<T> make_unique(ration_heap &heap, Args &&...args)
{
    allocator<T> source(heap);
    T *place = source.allocate(1);
    try {
        ::new (static_cast<void *>(place)) T(std::forward<Args>(args)...);
    } catch (...) {
        source.deallocate(place, 1);
        throw;
    }
    return unique_ptr<T>(place, deleter<T>(heap));
}

// Owns the struct of a heap, publishes it (ration_heaps_print) and ends it. Made by the named kinds
// below; neither copied nor moved.
template <class Raw> class owner
{
  public:
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner()
    {
        if (started_)
            ration_heap_destroy(&raw_.heap);
    }

    Raw &raw() noexcept { return raw_; }
    ration_heap &heap() noexcept { return raw_.heap; }
    operator ration_heap &() noexcept { return raw_.heap; }

    void *alloc(std::size_t bytes) noexcept { return ration_heap_alloc(&raw_.heap, bytes); }
    void free(void *block) noexcept { ration_heap_free(&raw_.heap, block); }

    struct ration_heap_stats stats() const noexcept
    {
        struct ration_heap_stats figures;
        ::ration_heap_stats(&raw_.heap, &figures);
        return figures;
    }

  protected:
    owner() noexcept : raw_() {}

    // Throws std::bad_alloc if the heap could not be started.
    void expect_started(const ration_heap *heap)
    {
        if (heap == nullptr)
            throw std::bad_alloc();
        started_ = true;
        ration_heap_publish(&raw_.heap);
    }

    Raw raw_;

  private:
    bool started_ = false;
};

class fit : public owner<ration_fit>
{
  public:
    fit(void *buffer, std::size_t bytes, const ration_fit_options &options = {})
    {
        expect_started(ration_fit_init(&raw_, buffer, bytes, &options));
    }
};

class buddy : public owner<ration_buddy>
{
  public:
    buddy(void *buffer, std::size_t bytes, const ration_buddy_options &options = {})
    {
        expect_started(ration_buddy_init(&raw_, buffer, bytes, &options));
    }
};

class tlsf : public owner<ration_tlsf>
{
  public:
    tlsf(void *buffer, std::size_t bytes, const ration_tlsf_options &options = {})
    {
        expect_started(ration_tlsf_init(&raw_, buffer, bytes, &options));
    }
};

class private_heap : public owner<ration_private>
{
  public:
    // limit_bytes 0: no limit.
    explicit private_heap(const char *name = nullptr, std::size_t limit_bytes = 0)
    {
        ration_private_options options = {};
        options.name = name;
        options.limit_bytes = limit_bytes;
        expect_started(ration_private_init(&raw_, &options));
    }

    std::size_t trim() noexcept { return ration_private_trim(&raw_); }
};

class arena : public owner<ration_arena>
{
  public:
    // Grows by chunks of the process's malloc.
    explicit arena(const char *name = nullptr) : arena(growing(name)) {}
    explicit arena(const ration_arena_options &options)
    {
        expect_started(ration_arena_init(&raw_, &options));
    }

    void reset() noexcept { ration_arena_reset(&raw_); }

  private:
    static ration_arena_options growing(const char *name)
    {
        ration_arena_options options = {};
        options.name = name;
        options.source = ration_source_malloc();
        return options;
    }
};

// Everything allocated from the arena inside the scope ends with it. Destructors of objects are not
// called.
class arena_scope
{
  public:
    explicit arena_scope(ration_arena &raw) noexcept : arena_(raw), mark_(ration_arena_mark(&raw))
    {
    }
    explicit arena_scope(arena &owner) noexcept : arena_scope(owner.raw()) {}
    arena_scope(const arena_scope &) = delete;
    arena_scope &operator=(const arena_scope &) = delete;
    ~arena_scope() { ration_arena_rewind(&arena_, mark_); }

  private:
    ration_arena &arena_;
    ration_mark mark_;
};

// A pool of objects of one type. flags: RATION_POOL_FIXED, RATION_POOL_GROWING, RATION_POOL_SHARED.
template <class T> class pool : public owner<ration_pool>
{
  public:
    explicit pool(std::size_t n_objects, unsigned flags = RATION_POOL_FIXED,
                  const char *name = nullptr)
    {
        ration_pool_options options = {};
        options.name = name;
        options.object_bytes = sizeof(T);
        options.alignment = alignof(T);
        options.n_objects = n_objects;
        options.flags = flags;
        options.source = ration_source_malloc();
        expect_started(ration_pool_init(&raw_, &options));
    }

    // A new object, or nullptr if the pool is exhausted. Throws what the constructor throws.
    template <class... Args> T *create(Args &&...args)
    {
        void *place = ration_pool_alloc(&raw_);
        if (place == nullptr)
            return nullptr;
        try {
            return ::new (place) T(std::forward<Args>(args)...);
        } catch (...) {
            ration_pool_free(&raw_, place);
            throw;
        }
    }

    // nullptr is allowed.
    void destroy(T *object) noexcept
    {
        if (object == nullptr)
            return;
        object->~T();
        ration_pool_free(&raw_, object);
    }
};

// A frame (frame.h) that ends with the scope.
class frame_scope
{
  public:
    frame_scope(const char *name, ration_frame_mode mode, ration_arena *arena = nullptr,
                const char *file = __builtin_FILE(), unsigned line = __builtin_LINE()) noexcept
    {
        ration_frame_begin_at(&frame_, name, mode, arena, file, line);
    }
    frame_scope(const frame_scope &) = delete;
    frame_scope &operator=(const frame_scope &) = delete;
    ~frame_scope() { ration_frame_end(&frame_); }

    // Whether the heap is guarded now.
    bool guard(ration_heap &heap) noexcept { return ration_frame_guard(&frame_, &heap) == 0; }
    const ration_frame &figures() const noexcept { return frame_; }

  private:
    ration_frame frame_;
};

} // namespace ration

#endif
