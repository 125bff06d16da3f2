# The load of `make demo`: a server's memory in small. Sessions come and change, then most of them end.
# Prints "done" when the work is over, and stays until its standard input ends.
use strict;
use warnings;

my $n_sessions = shift // 100_000;
srand(1);
$| = 1;

my %session;
my @words = map { "word$_" } 1 .. 500;

sub new_session {
    my ($id) = @_;
    return {
        user => "user$id",
        page => "x" x (200 + int(rand(3000))),
        seen => join(" ", map { $words[int(rand(@words))] } 1 .. 4 + int(rand(8))),
    };
}

for my $id (1 .. $n_sessions) {
    $session{$id} = new_session($id);
    if ($id % 3 == 0) {
        my $other = $session{1 + int(rand($id))};
        $other->{page} .= "y" x int(rand(400));
        $other->{seen} .= " $session{$id}{user}:$id";
    }
}
for my $round (1 .. 2) {
    for my $id (1 .. $n_sessions) {
        next if rand() < 0.5;
        delete $session{$id};
        $session{$id} = new_session($id);
    }
}
my $n_words = 0;
$n_words += split / /, $_->{seen} for values %session;
for my $id (1 .. $n_sessions) {
    delete $session{$id} if rand() < 0.95;
}
print "done\n";
my $line = <STDIN>;
die "demo: lost sessions\n" unless keys(%session) > 0.04 * $n_sessions && $n_words > 5 * $n_sessions;
