#include "span/run_tree.h"

static bool is_less(const struct run *a, const struct run *b)
{
    return a->pages != b->pages ? a->pages < b->pages : a->first < b->first;
}

static uint64_t priority(const struct run *r)
{
    uint64_t x = r->first + 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

/* Cuts tree t into what is less than `key` and what is greater. */
static void split(struct run *t, const struct run *key, struct run **less, struct run **greater)
{
    while (t != NULL) {
        if (is_less(t, key)) {
            *less = t;
            less = &t->right;
            t = t->right;
        } else {
            *greater = t;
            greater = &t->left;
            t = t->left;
        }
    }
    *less = NULL;
    *greater = NULL;
}

/* Joins two trees, all of `a` less than all of `b`, at *place. */
static void join(struct run *a, struct run *b, struct run **place)
{
    while (a != NULL && b != NULL) {
        if (priority(a) >= priority(b)) {
            *place = a;
            place = &a->right;
            a = a->right;
        } else {
            *place = b;
            place = &b->left;
            b = b->left;
        }
    }
    *place = a != NULL ? a : b;
}

void run_tree_insert(struct run **root, struct run *r)
{
    uint64_t mine = priority(r);
    while (*root != NULL && priority(*root) >= mine)
        root = is_less(r, *root) ? &(*root)->left : &(*root)->right;
    split(*root, r, &r->left, &r->right);
    *root = r;
}

void run_tree_remove(struct run **root, struct run *r)
{
    while (*root != r)
        root = is_less(r, *root) ? &(*root)->left : &(*root)->right;
    join(r->left, r->right, root);
}

struct run *run_tree_best_fit(struct run *root, size_t pages)
{
    struct run *best = NULL;
    while (root != NULL) {
        if (root->pages >= pages) {
            best = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return best;
}

struct run *run_tree_next(struct run *root, const struct run *r)
{
    struct run *next = NULL;
    while (root != NULL) {
        if (is_less(r, root)) {
            next = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return next;
}

static int check_between(const struct run *t, const struct run *low, const struct run *high)
{
    if (t == NULL)
        return 0;
    if ((low != NULL && !is_less(low, t)) || (high != NULL && !is_less(t, high)))
        return 1;
    if ((t->left != NULL && priority(t->left) > priority(t)) ||
        (t->right != NULL && priority(t->right) > priority(t)))
        return 2;
    int broken = check_between(t->left, low, t);
    return broken != 0 ? broken : check_between(t->right, t, high);
}

int run_tree_check(const struct run *root)
{
    return check_between(root, NULL, NULL);
}
