-- Generate a watch's capture functions anew with this release's generator. $1 id int → text, null: done, else why not
select notifiws.regenerate($1)
